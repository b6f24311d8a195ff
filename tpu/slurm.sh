#!/usr/bin/env bash
# A job on a Slurm cluster of GPUs; bigtrain[gpu] is installed where it is started.
set -euo pipefail
# shellcheck source=tpu/flags.sh
source "$(dirname "${BASH_SOURCE[0]}")/flags.sh"

usage() {
  cat << 'END'
Usage: tpu/slurm.sh --name=JOB [--flag=value ...] -- COMMAND

  --nodes=1       machines, one process each
  --gpus=8        of each
  --cpus=64       of each
  --time=24:00:00 at most; two minutes before, the run is told to save
  --partition=    empty is the cluster's own
  --logs=logs     where the log goes
  --dry_run       prints the commands only

The job goes back into the queue after a preemption, and goes on from its newest checkpoint.
END
}

declare -A flags=(
  [name]='' [nodes]=1 [gpus]=8 [cpus]=64 [time]=24:00:00 [partition]='' [logs]=logs
)
read_flags "$@"
need name
((${#command[@]})) || die "run what? Give the command after --"
more=()
[[ -z ${flags[partition]} ]] || more+=("--partition=${flags[partition]}")
act mkdir -p "${flags[logs]}"
act sbatch "--job-name=${flags[name]}" "--nodes=${flags[nodes]}" --ntasks-per-node=1 \
  "--gpus-per-node=${flags[gpus]}" "--cpus-per-task=${flags[cpus]}" "--time=${flags[time]}" \
  --signal=TERM@120 --requeue --open-mode=append "--output=${flags[logs]}/%x-%j.log" "${more[@]}" \
  "--wrap=srun --kill-on-bad-exit=1 $(quoted "${command[@]}")"
