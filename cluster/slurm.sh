#!/usr/bin/env bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --requeue
# One command on several nodes of a Slurm cluster; options above may be given to sbatch instead:
#   sbatch cluster/slurm.sh python jobs/pretrain.py run.yaml --storage /shared/runs
# A job that ran out of its time is submitted again, and goes on from its newest checkpoint.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch, from the folder of the project}"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')
RAY_AUTH_TOKEN=$(openssl rand -hex 32)
export RAY_AUTH_TOKEN
exec srun --kill-on-bad-exit=1 bash cluster/machines.sh "$address:6379" "$SLURM_JOB_NUM_NODES" "$@"
