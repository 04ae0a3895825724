#!/usr/bin/env bash
# `podman run …` as a task of srun: in_podman.sh run … hands signals on by itself, and stays until the container is gone.
#
# SLURM signals all processes of a step at once, SIGCONT just before SIGTERM. podman hands a signal on by a process of
# its own, `runc kill`; where the next signal ends that one, podman hands on nothing more (seen with 4.3), and a
# cancelled or preempted job would train on without having saved. A builtin of this shell cannot be ended that way; it
# comes a second later, so that podman, where it does its part, still tells the exit code.
set -u
directory=$(mktemp -d)
first=$directory/pid # the container's first process, as this node numbers it
waiting=()           # signals that came before it was there
trap 'rm -rf "$directory"' EXIT
for name in TERM INT USR1 USR2 HUP; do
  # shellcheck disable=SC2064 # $name as it is now
  trap "waiting+=($name)" "$name"
done

shift
podman run --pidfile="$first" "$@" &
client=$!
while kill -0 "$client" 2>/dev/null || { [[ -s $first ]] && kill -0 "$(<"$first")" 2>/dev/null; }; do
  if ((${#waiting[@]})) && [[ -s $first ]]; then
    sleep 1
    kill -s "${waiting[0]}" "$(<"$first")" 2>/dev/null
    waiting=("${waiting[@]:1}")
  else
    sleep 0.1
  fi
done
wait "$client"
code=$?
# Asked to stop before there was a container: as python would have ended.
if ((${#waiting[@]})) && [[ ! -s $first ]]; then
  code=$((128 + $(kill -l "${waiting[0]}")))
fi
exit "$code"
