#!/usr/bin/env bash
# One machine with a Ray head that stays up, so that jobs can be submitted to it and its dashboard watched:
#   bash cluster/local.sh
#   export RAY_AUTH_MODE=token
#   .venv/bin/ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- \
#       python jobs/sweep.py search_spaces/quickstart.yaml --storage "$PWD/runs"
#   .venv/bin/ray stop
# The dashboard is at http://127.0.0.1:8265. It and every client need the token in ~/.ray/auth_token, which this script
# makes if there is none; on another machine set RAY_AUTH_TOKEN to the same.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/ray get-auth-token --generate > /dev/null
export RAY_AUTH_MODE=token PATH="$PWD/.venv/bin:$PATH"
# One logical CPU more than there are cores: drivers and data tasks use it while every core trains.
exec .venv/bin/ray start --head --num-cpus "$(($(nproc) + 1))" --dashboard-host 127.0.0.1 --disable-usage-stats
