#!/usr/bin/env bash
# bash cluster/local.sh
#
# One machine with a Ray head that stays up, so that sweeps can be submitted to it and its dashboard watched:
#   cogito-ray submit sweep search_spaces/quickstart.yaml --address http://127.0.0.1:8265 --storage "$PWD/runs"
#   ray stop
# Head, dashboard and clients need the token in ~/.ray/auth_token, which this script makes if there is none; every client
# sets RAY_AUTH_MODE=token, and on another machine RAY_AUTH_TOKEN to the same.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/ray get-auth-token --generate > /dev/null
export RAY_AUTH_MODE=token PATH="$PWD/.venv/bin:$PATH"
# One logical CPU more than there are cores: drivers and data tasks use it while every core trains.
exec .venv/bin/ray start --head --node-ip-address 127.0.0.1 --num-cpus "$(($(nproc) + 1))" --dashboard-host 127.0.0.1 \
    --disable-usage-stats
