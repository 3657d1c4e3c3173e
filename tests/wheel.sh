#!/usr/bin/env bash
# What the wheel holds is enough: in an empty environment, in a folder of its own, it writes a project and sweeps it, small.
#   make wheel-test
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
cp -r cogito_ray pyproject.toml README.md LICENSE "$work/source"          # no build/ of an earlier wheel
"${PYTHON:-python3}" -m venv "$work/venv"
pip="$work/venv/bin/pip --quiet --disable-pip-version-check"
$pip wheel --no-deps --wheel-dir "$work/dist" "$work/source"
$pip install --constraint requirements.lock "$work"/dist/*.whl
mkdir "$work/elsewhere" && cd "$work/elsewhere"
unset PYTHONPATH
export PATH="$work/venv/bin:$PATH"
cogito-ray init project && cd project
cogito-ray check ./*.yaml
cogito-ray sweep sweep.yaml budget.trials=2 run.training.steps=60 early_stopping='{kind: none}' run.data.tokenizer.vocabulary=2048
test -s runs/first_sweep/report.html
python -c "import cogito_ray as cr; print(cr.load('runs/first_sweep').to_dataframe().T)"
