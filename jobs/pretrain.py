"""Train, or resume, one run on the cluster this job was submitted to.

    ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
        python jobs/pretrain.py jobs/debug.yaml workers=4 --storage /shared/runs
"""

import sys

from cogito_ray.cli import main

sys.argv.insert(1, "train")
main()
