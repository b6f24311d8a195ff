#!/usr/bin/env bash
# A managed job by SkyPilot (pip install 'skypilot[gcp]'), which starts it again after a preemption.
set -euo pipefail
# shellcheck source=tpu/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"

usage() {
  cat << 'END'
Usage: tpu/sky.sh --name=JOB [--flag=value ...] -- COMMAND

  --type=tpu-v6e-8  as SkyPilot names it
  --spot=true       cheaper, and taken away when needed elsewhere
  --dry_run         prints the command only

What the machines are and how they are set up is in tpu/sky.yaml.
END
}

declare -A flags=([name]='' [type]=tpu-v6e-8 [spot]=true)
read_flags "$@"
need name
((${#command[@]})) || die "run what? Give the command after --"
more=(--no-use-spot)
[[ ${flags[spot]} == false ]] || more=(--use-spot)
act sky jobs launch --yes "--name=${flags[name]}" "--gpus=${flags[type]}" "${more[@]}" \
  "--env=COMMAND=$(quoted "${command[@]}")" "$(dirname "${BASH_SOURCE[0]}")/sky.yaml"
