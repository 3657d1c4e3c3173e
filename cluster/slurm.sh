#!/usr/bin/env bash
# sbatch cluster/slurm.sh train run.yaml --storage /shared/runs
#
# One command of cogito-ray on several nodes of a Slurm cluster; options below may be given to sbatch instead. Two minutes
# before its time is over the job puts itself back into the queue, and goes on from its newest checkpoints, as it does
# after a lost node.
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this with sbatch, from the folder of the project}"
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')
RAY_AUTH_TOKEN=$(openssl rand -hex 32)
export RAY_AUTH_TOKEN
# Without cgroups, Slurm leaves what has made itself a daemon, and Ray starts on no node where Ray runs.
[ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] || srun env PATH="$PWD/.venv/bin:$PATH" ray stop --force
# Signals wait for what runs in the foreground, so the step does not.
srun --kill-on-bad-exit=1 bash cluster/machines.sh "$address:6379" "$SLURM_JOB_NUM_NODES" "$@" &
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1
wait "$!"
