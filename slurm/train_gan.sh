#!/usr/bin/env bash
# Train the water GAN on a SLURM cluster. From the checkout, where the paths in the command hold:
#
#   sbatch slurm/train_gan.sh --data shards/water --start vae=runs/vae --out runs/gan
#
# The same command resumes. Flags before the script's name win over the lines below.
# `slurm/train_gan.sh --dry-run …` prints what would run.
#
#SBATCH --job-name=water_gan
#SBATCH --nodes=2
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
train_job water_gan "$@"
