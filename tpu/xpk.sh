#!/usr/bin/env bash
# A job on a GKE cluster of TPUs, by XPK (pip install xpk).
set -euo pipefail
# shellcheck source=tpu/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"

usage() {
  cat << 'END'
Usage: tpu/xpk.sh --name=JOB --cluster=CLUSTER --zone=ZONE --type=TYPE [--flag=value ...] -- COMMAND

  --project=    empty is gcloud's own
  --slices=1    how many of that type
  --image=      with Python; the working folder is laid over it
  --restarts=10 times that the job is started anew, after a preemption or a failure
  --dry_run     prints the command only
END
}

declare -A flags=(
  [name]='' [cluster]='' [zone]='' [project]='' [type]='' [slices]=1 [image]=python:3.12
  [restarts]=10
)
read_flags "$@"
need name cluster zone type
((${#command[@]})) || die "run what? Give the command after --"
more=()
[[ -z ${flags[project]} ]] || more+=("--project=${flags[project]}")
act xpk workload create "--workload=${flags[name]}" "--cluster=${flags[cluster]}" \
  "--zone=${flags[zone]}" "--tpu-type=${flags[type]}" "--num-slices=${flags[slices]}" \
  "--base-docker-image=${flags[image]}" --script-dir=. "--max-restarts=${flags[restarts]}" \
  "${more[@]}" "--command=pip install -q -e '.[tpu]' && $(quoted "${command[@]}")"
