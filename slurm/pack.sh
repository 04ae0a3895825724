#!/usr/bin/env bash
# Pack exports into shards on a SLURM cluster, a part in each task of an array; when all are complete, a job joins them:
#
#   sbatch slurm/pack.sh exports --out shards/water --true-scale
#   sbatch --array=1-32 slurm/pack.sh …
#
# A part that failed goes on where it was: the same command again. `slurm/pack.sh --dry-run …` prints what would run.
#
#SBATCH --job-name=pack
#SBATCH --array=1-8
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --time=4:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
set -euo pipefail
slurm=$(dirname "$0")
[[ -e $slurm/job.sh ]] || slurm=${WATERSCAPE_HOME:-$SLURM_SUBMIT_DIR}/slurm # SLURM runs a copy of this file
# shellcheck source=slurm/job.sh
source "$slurm/job.sh"
pack_job "$@"
