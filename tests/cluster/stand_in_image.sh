#!/usr/bin/env bash
# An image of the Containerfile for tests/cluster/test_container.py, where no base image can be pulled: on a stand-in,
# a minimal Debian with its own Python. As root, with debootstrap, podman and runc:
#
#   eval "$(tests/cluster/stand_in_image.sh DIRECTORY)" && pytest -m long tests/cluster/test_container.py
#
# DIRECTORY (2 GB) keeps podman's storage, so that a second call builds anew what has changed alone. pip inside is told
# what this machine's pip is told; the paths in that, such as a CA bundle, are mounted, so that no layer holds them.
set -euo pipefail
directory=$(mkdir -p "${1:?name a directory}" && cd "$1" && pwd)
checkout=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
base=localhost/waterscape-base:bookworm
image=localhost/waterscape-test:latest

# For machines without CAP_SYS_RESOURCE or with cgroups of both versions; the flags of the product stay as they are.
cat >"$directory/containers.conf" <<END
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=1024:1024"]
netns = "host"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
END
cat >"$directory/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$directory/storage"
runroot = "$directory/run"
END
export CONTAINERS_CONF=$directory/containers.conf CONTAINERS_STORAGE_CONF=$directory/storage.conf
work=$(mktemp -d -p "$directory")
export TMPDIR=$work
trap 'rm -rf --one-file-system "$work"' EXIT # debootstrap mounts in it

if ! podman image exists $base; then
  # From where this machine has its own packages, if it is a Debian.
  # shellcheck disable=SC2016 # it is apt that expands this
  mapfile -t mirror < <(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n 1)
  debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/root" "${mirror[@]}" \
    >"$work/log" 2>&1 ||
    { tail -n 20 "$work/log" >&2 && exit 1; }
  rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
  tar -C "$work/root" -c . | podman import --quiet --change 'CMD ["python3"]' - $base >&2
fi

# What pip is told here, as one file, and the paths in it, seen inside under their own names.
"$python" -m pip config list | "$python" -c '
import ast, sys
told = {}
for line in sorted(sys.stdin, key=lambda line: line.startswith(":env:")):  # the environment wins
    name, _, value = line.strip().partition("=")
    section, _, option = name.removeprefix(":env:").rpartition(".")
    told.setdefault(section or "global", {})[option] = ast.literal_eval(value)
for section, options in told.items():
    print(f"[{section}]")
    for option, value in options.items():
        print(f"{option} =", value.strip().replace("\n", "\n    "))
' >"$work/pip.conf"
mounts=()
while read -r path; do
  path=${path%/simple} # an index refers to files that lie beside it
  [[ -e $path ]] && mounts+=(--volume="$path:$path:ro")
done < <(grep -oE '/[^[:space:]]+' "$work/pip.conf" | sed 's,^//*,/,' | sort -u)

# A word that the builder knows and the image must not.
[[ -e $directory/canary ]] || "$python" -c 'import secrets; print("canary-" + secrets.token_hex(8))' >"$directory/canary"
canary=$(<"$directory/canary")
echo "# $canary" >>"$work/pip.conf"
CANARY=$canary podman build --pull=never --network=host "${mounts[@]}" --secret "id=pip,src=$work/pip.conf" \
  --build-arg BASE=$base \
  --build-arg REVISION="$(git -C "$checkout" rev-parse HEAD 2>/dev/null || echo unknown)" --tag $image "$checkout" \
  >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2 && exit 1; }

printf 'export %s\n' "CONTAINERS_CONF=$CONTAINERS_CONF" "CONTAINERS_STORAGE_CONF=$CONTAINERS_STORAGE_CONF" \
  "WATERSCAPE_TEST_IMAGE=$image" "WATERSCAPE_TEST_CANARY=$canary"
