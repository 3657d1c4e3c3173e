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
begun=$(mktemp)
trap 'rm -f "$begun"' EXIT
# One logical CPU more than there are cores: drivers and data tasks use it while every core trains.
# shellcheck disable=SC2016  # the inner shell expands them
ray symmetric-run --address "$address" --min-nodes "$nodes" --num-cpus "$(($(nproc) + 1))" \
    --disable-usage-stats ${LABELS:+--labels "$LABELS"} -- \
    env RAY_ADDRESS="$address" sh -c 'echo begun > "$0" && exec python -m cogito_ray "$@"' "$begun" "${@:3}"
# It ends with 0 where Ray did not start, too.
if [ ! -s "$begun" ] && ip -o -4 address | grep -qwF "${address%:*}"; then
    echo "Ray did not start on this head" >&2
    exit 1
fi
