#!/usr/bin/env bash
# TPU machines: create, install, run, logs, fetch, watch, delete.
set -euo pipefail
# shellcheck source=tpu/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"

usage() {
  cat << 'END'
Usage: tpu/vm.sh VERB --name=NAME --zone=ZONE [--flag=value ...] [-- COMMAND]

  create   asks for the machines (a queued resource), and waits until they are there
  install  copies the last commit to every worker and installs it
  run      starts COMMAND on every worker, which goes on when you log out
  logs     follows what a worker writes
  fetch    copies the workdir here
  watch    looks on until COMMAND is done; creates the machines anew after a preemption, and
           starts COMMAND again, which goes on from its newest checkpoint
  delete   gives the machines back

  --project=     empty is gcloud's own
  --type=        v5litepod-16, v5p-128, v6e-256, ...
  --runtime=     empty is the one that suits the type
  --slices=1     how many of that type, joined by the data center's network
  --spot=false   cheaper, and taken away when needed elsewhere
  --worker=0     whose log is followed
  --workdir=     what fetch copies: gs://BUCKET/RUN, or a folder on worker 0
  --to=runs      where to
  --every=60     seconds between two looks
  --dry_run      prints the commands only
END
}

declare -A flags=(
  [name]='' [zone]='' [project]='' [type]='' [runtime]='' [slices]=1 [spot]=false [worker]=0
  [workdir]='' [to]=runs [every]=60
)
verb=${1:-}
if [[ -z $verb || $verb == -* ]]; then
  usage
  [[ $verb == --help || $verb == -h ]] && exit 0
  exit 2
fi
shift
read_flags "$@"
need name zone
name=${flags[name]}
where=("--zone=${flags[zone]}")
[[ -z ${flags[project]} ]] || where+=("--project=${flags[project]}")

runtime() {
  case ${flags[runtime]:-${flags[type]}} in
    v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) [[ -n ${flags[runtime]} ]] || die "--type=${flags[type]}: give its --runtime too"
      echo "${flags[runtime]}" ;;
  esac
}

nodes() {
  if ((flags[slices] == 1)); then
    echo "$name"
  else
    for ((i = 0; i < flags[slices]; i++)); do echo "$name-$i"; done
  fi
}

# What a queued resource says of itself: ACTIVE, WAITING_FOR_RESOURCES, SUSPENDED, ... or nothing.
state() {
  gcloud compute tpus queued-resources describe "$name" "${where[@]}" \
    '--format=value(state.state)' 2> /dev/null || true
}

# Usage: on NODE WORKER COMMAND
on() {
  act gcloud compute tpus tpu-vm ssh "$1" "${where[@]}" "--worker=$2" "--command=$3"
}

create() {
  need type
  local runtime more=()
  runtime=$(runtime)
  if ((flags[slices] == 1)); then
    more+=("--node-id=$name")
  else
    more+=("--node-prefix=$name" "--node-count=${flags[slices]}")
  fi
  [[ ${flags[spot]} == false ]] || more+=(--spot)
  act gcloud compute tpus queued-resources create "$name" "${where[@]}" \
    "--accelerator-type=${flags[type]}" "--runtime-version=$runtime" "${more[@]}" || return 1
  [[ ${flags[dry_run]} == false ]] || return 0
  local now=''
  until [[ $now == ACTIVE ]]; do
    now=$(state)
    case $now in
      FAILED | SUSPENDED | SUSPENDING) die "$name is $now: delete it, and try another --zone" ;;
      ACTIVE) ;;
      *) echo "$name: ${now:-not there yet}" >&2; sleep "${flags[every]}" ;;
    esac
  done
}

install() {
  local archive node
  archive=${TMPDIR:-/tmp}/bigtrain-$name.tar.gz
  act git archive --format=tar.gz "--output=$archive" HEAD || return 1
  for node in $(nodes); do
    act gcloud compute tpus tpu-vm scp "$archive" "$node:bigtrain.tar.gz" "${where[@]}" \
      --worker=all || return 1
    on "$node" all "mkdir -p bigtrain && tar -xzf bigtrain.tar.gz -C bigtrain && \
python3 -m pip install -q -U -e './bigtrain[tpu]'" || return 1
  done
}

run() {
  ((${#command[@]})) || die "run what? Give the command after --"
  local node line
  line=$(quoted "${command[@]}")
  # The exit code goes to a file, by which `watch` knows that the run is over.
  line="cd bigtrain && rm -f run.exit && \
setsid nohup bash -c $(quoted "$line; echo \$? > run.exit") > run.log 2>&1 < /dev/null &"
  for node in $(nodes); do
    on "$node" all "$line" || return 1
  done
}

logs() {
  on "$(nodes | head -n 1)" "${flags[worker]}" 'tail -n 100 -F bigtrain/run.log'
}

fetch() {
  need workdir
  act mkdir -p "${flags[to]}"
  if [[ ${flags[workdir]} == gs://* ]]; then
    act gcloud storage rsync --recursive "${flags[workdir]}" "${flags[to]}"
  else
    act gcloud compute tpus tpu-vm scp --recurse "$(nodes | head -n 1):${flags[workdir]}" \
      "${flags[to]}" "${where[@]}" --worker=0
  fi
}

delete() {
  act gcloud compute tpus queued-resources delete "$name" "${where[@]}" --force --quiet
}

watch() {
  ((${#command[@]})) || die "watch needs the command, to start it again: give it after --"
  need type
  local first code
  first=$(nodes | head -n 1)
  if [[ ${flags[dry_run]} == true ]]; then
    echo '# After a preemption:' >&2
    again
    return
  fi
  while true; do
    case $(state) in
      ACTIVE)
        code=$(gcloud compute tpus tpu-vm ssh "$first" "${where[@]}" --worker=0 \
          '--command=cat bigtrain/run.exit 2> /dev/null' 2> /dev/null || true)
        if [[ -n $code ]]; then
          echo "$name: the run is over, exit code $code" >&2
          exit "$code"
        fi
        sleep "${flags[every]}"
        ;;
      SUSPENDED | SUSPENDING | FAILED | '')
        # In a subshell: where there are no machines now, there may be later.
        (again) || sleep "${flags[every]}"
        ;;
      *) sleep "${flags[every]}" ;;
    esac
  done
}

# The machines were taken away: new ones, and the same command.
again() {
  echo "$name: created anew" >&2
  delete || true
  create && install && run
}

case $verb in
  create | install | run | logs | fetch | watch | delete) "$verb" ;;
  *) usage >&2; die "$verb is not known" ;;
esac
