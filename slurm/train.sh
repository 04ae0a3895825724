#!/usr/bin/env bash
# Train a model on a SLURM cluster. From the checkout, where the paths in the command hold:
#
#   sbatch slurm/train.sh water_vae --data shards/water --out runs/vae
#
# The same command resumes. Flags before the script's name win over the lines below: sbatch --nodes=4 slurm/train.sh …
# `slurm/train.sh --dry-run …` prints what would run.
#
#SBATCH --job-name=waterscape
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#
# One task is one rank: as many as GPUs. --signal: so many seconds before the limit the ranks save, and the job goes
# back into the queue.
set -euo pipefail
slurm=$(dirname "$0")
[[ -e $slurm/job.sh ]] || slurm=${WATERSCAPE_HOME:-$SLURM_SUBMIT_DIR}/slurm # SLURM runs a copy of this file
# shellcheck source=slurm/job.sh
source "$slurm/job.sh"
train_job "$@"
