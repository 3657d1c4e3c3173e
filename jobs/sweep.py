"""Run, or resume, a sweep on the cluster this job was submitted to.

    ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
        python jobs/sweep.py search_spaces/quickstart.yaml --storage /shared/runs
"""

import sys

from cogito_ray.cli import main

sys.argv.insert(1, "sweep")
main()
