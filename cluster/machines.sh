#!/usr/bin/env bash
# bash cluster/machines.sh 10.0.0.1:6379 2 sweep search_spaces/wikipedia.yaml --storage /shared/runs
#
# Several machines for one command of cogito-ray, without a standing cluster. Give the same line on each of them, in any
# order, after this one, with the same token, which `.venv/bin/ray get-auth-token --generate` prints:
#   export RAY_AUTH_TOKEN=...
# 10.0.0.1 is one of these machines; it becomes the head, waits until there are 2, runs the command and stops Ray
# everywhere. The project and the storage must lie at the same paths on each. Afterwards the same line resumes.
# LABELS=gpu=a5000 before it labels the machine, for runs that name such machines (`labels: {gpu: a5000}`).
set -euo pipefail
address=${1:?HEAD:PORT is missing} nodes=${2:?number of machines is missing}
cd "$(dirname "$0")/.."
export RAY_AUTH_MODE=token PYTHONPATH=$PWD PATH="$PWD/.venv/bin:$PATH"
# One logical CPU more than there are cores: drivers and data tasks use it while every core trains.
exec ray symmetric-run --address "$address" --min-nodes "$nodes" --num-cpus "$(($(nproc) + 1))" \
    --disable-usage-stats ${LABELS:+--labels "$LABELS"} -- \
    env RAY_ADDRESS="$address" python -m cogito_ray "${@:3}"
