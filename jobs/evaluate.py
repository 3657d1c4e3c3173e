"""Ask checkpoints labelled questions on the cluster this job was submitted to; what is known is not asked again.

    ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
        python jobs/evaluate.py /shared/runs/quickstart --tasks stsb,mrpc --protocol zero-shot,probe,fine-tune --seeds 3
"""

import sys

from cogito_ray.cli import main

sys.argv.insert(1, "evaluate")
main()
