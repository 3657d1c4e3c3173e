#!/usr/bin/env bash
# The oldest and the newest Ray that pyproject.toml allows: each finds the machine fit, sweeps, and trains with two workers.
#   make test-ray-versions
# Only Ray is of another version; all else is what .venv holds.
set -euo pipefail
cd "$(dirname "$0")/.."
allowed=$(sed -nE 's/.*"ray\[[a-z,]+\]([^"]+)".*/\1/p' pyproject.toml)
oldest=$(sed -E 's/>=([0-9.]+),.*/\1/' <<< "$allowed")
for wanted in "==$oldest.*" "$allowed"; do
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target "$work/ray" "ray$wanted"
    export PYTHONPATH="$work/ray:$PWD" PATH="$work/ray/bin:$PWD/.venv/bin:$PATH"
    python -c 'import ray; print("Ray", ray.__version__, "in", ray.__path__[0])'
    python -m cogito_ray doctor --storage "$work/runs"
    python -m cogito_ray sweep search_spaces/quickstart.yaml budget.trials=2 run.training.steps=60 \
        early_stopping='{kind: none}' run.data.tokenizer.vocabulary=2048 --storage "$work/runs"
    python -m cogito_ray train jobs/debug.yaml workers=2 training.steps=40 --storage "$work/runs"
    rm -rf "$work"
    unset PYTHONPATH
done
