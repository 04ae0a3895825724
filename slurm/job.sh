#!/usr/bin/env bash
# What the job scripts share. Sourced by them, and by the jobs of `waterscape submit`.
#
#   WATERSCAPE_IMAGE     run in this container image; unset: bare
#   WATERSCAPE_RUNTIME   podman, docker, apptainer, singularity, enroot or pyxis; unset: see choose_runtime
#   WATERSCAPE_PYTHON    the interpreter when bare; unset: .venv of the checkout
#   WATERSCAPE_HOME      the checkout; unset: the directory that sbatch was called in
#   WATERSCAPE_CONTAINER_FLAGS   more flags for podman or docker

checkout=${WATERSCAPE_HOME:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
home=$checkout # where tools/ lie for python: elsewhere in a container
python=()      # the words that run python, in the container or out of it
srun_flags=()  # what srun must know of it
terminated=    # SLURM itself ends the job: scancel, its own requeue, the time limit

if [[ -n ${SLURM_CPUS_PER_TASK-} ]]; then # srun does not inherit it, and torch would take all cores of the node
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK OMP_NUM_THREADS=${OMP_NUM_THREADS:-$SLURM_CPUS_PER_TASK}
fi

# What a container takes over from its task.
VARIABLES=(
  SLURM_JOB_ID SLURM_RESTART_COUNT SLURM_STEP_ID SLURM_STEP_NUM_TASKS SLURM_STEP_NODELIST SLURM_STEP_TASKS_PER_NODE
  SLURM_STEP_NUM_NODES SLURM_JOB_NUM_NODES SLURM_JOB_NODELIST SLURM_NTASKS SLURM_PROCID SLURM_LOCALID SLURM_NODEID
  SLURM_ARRAY_JOB_ID SLURM_ARRAY_TASK_ID SUBMITIT_EXECUTOR MASTER_ADDR MASTER_PORT CUDA_VISIBLE_DEVICES
  OMP_NUM_THREADS ACCELERATE_USE_CPU GLOO_SOCKET_IFNAME NCCL_SOCKET_IFNAME NCCL_DEBUG
)

fail() {
  echo "error: $*" >&2
  exit 1
}

# The value of option $1 among the words that follow it; empty where it is not there.
option() {
  local name=$1 value=""
  shift
  while (($#)); do
    case $1 in
      "$name") value=${2-} ;;
      "$name"=*) value=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "$value"
}

# The directories that the words name and that lie outside of the working directory, each once. (One that is yet to be
# made is seen through its parent.)
outside() {
  local word path
  for word in "$@"; do
    path=${word#*=}
    [[ $path == /* && $path != "$PWD" && $path != "$PWD"/* ]] || continue
    [[ -d $path ]] || path=$(dirname "$path")
    printf '%s\n' "$path"
  done | sort -u
}

# The one place that decides how waterscape runs: fills `python`, `srun_flags` and, in a container, `home`.
choose_runtime() {
  local image=${WATERSCAPE_IMAGE-} runtime=${WATERSCAPE_RUNTIME-} gpus=${SLURM_GPUS_ON_NODE:-0}
  local mounts=("$PWD") path name flags
  if [[ -z $image ]]; then
    python=("${WATERSCAPE_PYTHON:-$checkout/.venv/bin/python}")
    return
  fi
  if [[ -z $runtime ]]; then
    case $image in
      *.sif) runtime=$(first_of apptainer singularity) ;;
      *.sqsh) runtime=pyxis ;;
      *) runtime=$(first_of podman docker apptainer singularity) ;;
    esac || fail "no program for WATERSCAPE_IMAGE=$image here: install podman or apptainer, or set WATERSCAPE_RUNTIME"
  fi
  while read -r path; do mounts+=("$path"); done < <(outside "$@")
  case $runtime in
    podman | docker)
      python=("$runtime" run --rm --network=host --ipc=host --read-only --tmpfs=/tmp --cap-drop=ALL)
      python+=(--security-opt=no-new-privileges --user="$(id -u):$(id -g)" --workdir="$PWD" --env=HOME=/tmp)
      [[ $runtime == podman && $(id -u) != 0 ]] && python+=(--userns=keep-id)
      [[ $runtime == podman && $gpus != 0 ]] && python+=(--device=nvidia.com/gpu=all)
      [[ $runtime == docker && $gpus != 0 ]] && python+=(--gpus=all)
      for path in "${mounts[@]}"; do python+=(--volume="$path:$path"); done
      for name in "${VARIABLES[@]}"; do python+=(--env="$name"); done
      [[ $runtime == podman ]] && python[0]=$checkout/slurm/in_podman.sh
      read -ra flags <<<"${WATERSCAPE_CONTAINER_FLAGS-}"
      python+=("${flags[@]}" "$image" python)
      ;;
    apptainer | singularity)
      python=("$runtime" exec --contain --pwd="$PWD")
      [[ $gpus != 0 ]] && python+=(--nv)
      for path in "${mounts[@]}"; do python+=(--bind="$path"); done
      python+=("$image" python)
      ;;
    enroot)
      python=(enroot start --env=HOME=/tmp)
      for path in "${mounts[@]}"; do python+=(--mount="$path:$path"); done
      for name in "${VARIABLES[@]}"; do python+=(--env="$name"); done
      python+=("$image" python)
      ;;
    pyxis)
      srun_flags+=(--container-image="$image" --container-workdir="$PWD" --no-container-mount-home)
      srun_flags+=(--container-mounts="$(printf '%s\n' "${mounts[@]}" | sed 's/.*/&:&/' | paste -sd, -)")
      python=(python)
      ;;
    *) fail "WATERSCAPE_RUNTIME=$runtime is none of podman, docker, apptainer, singularity, enroot, pyxis" ;;
  esac
  python+=(-P) # the image's waterscape, not the one that may lie in the working directory
  home=/opt/waterscape
}

first_of() {
  local program
  for program in "$@"; do
    if command -v "$program" >/dev/null; then
      echo "$program"
      return
    fi
  done
  return 1
}

# Before a run in directory $1: where ranks meet, and whether another start makes sense. After it: whether to go on.
watch_over() {
  local out=$1 first count=0 reached before
  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
  # Node names need not resolve, least of all in a container.
  MASTER_ADDR=${MASTER_ADDR:-$(scontrol show node "$first" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')}
  MASTER_PORT=${MASTER_PORT:-$(free_port)}
  export MASTER_ADDR MASTER_PORT
  mkdir -p "$out"
  rm -f "$out/outcome"
  reached=$(newest_checkpoint "$out")
  if [[ ${SLURM_RESTART_COUNT:-0} != 0 && -e $out/slurm-starts ]]; then
    read -r before count <"$out/slurm-starts"
    if [[ $before == "$reached" ]]; then count=$((count + 1)); else count=0; fi
  fi
  echo "$reached $count" >"$out/slurm-starts"
  ((count < 3)) || fail "three restarts of job $SLURM_JOB_ID made no progress beyond checkpoint $reached of $out: read" \
    "the log, mend the cause (a longer --time, an earlier --signal, fewer images between checkpoints), submit again"
  trap 'terminated=yes' TERM
  # shellcheck disable=SC2064 # $out as it is now
  trap "go_on '$out' \$?" EXIT
}

# A port that nothing on this node uses, the first of the job; another one for each restart, since ranks of the last may
# live on where a node was declared lost.
free_port() {
  local port=$((7 * SLURM_JOB_ID + ${SLURM_RESTART_COUNT:-0}))
  while grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf %04X $((20000 + port % 10000))) " /proc/net/tcp /proc/net/tcp6 2>/dev/null; do
    port=$((port + 1))
  done
  echo $((20000 + port % 10000))
}

newest_checkpoint() {
  local newest=none path
  for path in "$1"/checkpoints/[0-9]*; do [[ -d $path ]] && newest=${path##*/}; done
  echo "$newest"
}

# After a run in directory $1 that left with code $2: put the job back into the queue if it was asked to stop and saved.
# Never where SLURM itself ends the job: it comes back by itself, or was cancelled.
go_on() {
  local word=""
  trap - EXIT
  [[ -e $1/outcome ]] && read -r word <"$1/outcome"
  # Without a word: stopped before training began, by signal (128 + its number; 0 where podman was still starting).
  case $word:$2 in :0 | :75 | :138 | :140 | :143) word="continue" ;; esac
  echo "job $SLURM_JOB_ID: outcome ${word:-none}, exit code $2${terminated:+, ended by SLURM}"
  if [[ $word == continue && -z $terminated ]]; then
    scontrol requeue "$SLURM_JOB_ID"
  fi
  exit "$2"
}

# Train as the words say, one rank per task: MODEL … [--dry-run].
train_job() {
  local words=() word out dry=
  for word in "$@"; do if [[ $word == --dry-run ]]; then dry=yes; else words+=("$word"); fi; done
  out=$(option --out "${words[@]}")
  [[ -n $out ]] || fail "say where the run goes: --out runs/NAME"
  choose_runtime "${words[@]}"
  run_step "$dry" "$out" -m waterscape train "${words[@]}"
}

# One step of one task per rank that runs python with the words after $2; with $1, only print it. $2: the run, if any.
run_step() {
  local dry=$1 out=$2 step
  shift 2
  step=(srun --kill-on-bad-exit=1 "${srun_flags[@]}" "${python[@]}" "$@")
  if [[ -n $dry ]]; then
    sed -n 's/^#SBATCH *\(--[^ ]*\).*/sbatch \1/p' "$0"
    printf '%q ' "${step[@]}"
    echo
    return
  fi
  [[ -n ${SLURM_JOB_ID-} ]] || fail "this is a job script: sbatch $0 …, or $0 --dry-run … to see what would run"
  [[ -z $out ]] || watch_over "$out"
  "${step[@]}"
}

# Pack one part of an array, as the words say: SOURCE … --out DIR [--dry-run]. The first task asks for the join.
pack_job() {
  local words=() word out dry=
  for word in "$@"; do if [[ $word == --dry-run ]]; then dry=yes; else words+=("$word"); fi; done
  out=$(option --out "${words[@]}")
  [[ -n $out ]] || fail "say where the shards go: --out shards/NAME"
  choose_runtime "${words[@]}" "$(dirname "$out")" # parts lie beside --out
  if [[ -n $dry ]]; then
    pack_step yes "${words[@]}" --part I/N
    pack_step yes "${words[@]}" --join | tail -n1
  elif [[ " ${words[*]} " == *" --join "* ]]; then
    pack_step "" "${words[@]}"
  elif [[ -z ${SLURM_ARRAY_TASK_COUNT-} ]]; then
    fail "this is the script of an array of jobs: sbatch $0 …, or $0 --dry-run … to see what would run"
  else
    if [[ $SLURM_ARRAY_TASK_ID == "$SLURM_ARRAY_TASK_MIN" && ${SLURM_RESTART_COUNT:-0} == 0 ]]; then
      sbatch --array=1 --job-name="$SLURM_JOB_NAME-join" --dependency="afterok:$SLURM_ARRAY_JOB_ID" \
        --kill-on-invalid-dep=yes "$checkout/slurm/pack.sh" "${words[@]}" --join
    fi
    pack_step "" "${words[@]}" --processes "${SLURM_CPUS_PER_TASK:-1}" \
      --part "$((SLURM_ARRAY_TASK_ID - SLURM_ARRAY_TASK_MIN + 1))/$SLURM_ARRAY_TASK_COUNT"
  fi
}

pack_step() {
  local dry=$1
  shift
  run_step "$dry" "" "$home/tools/pack_occurrence.py" "$@"
}
