# shellcheck shell=bash disable=SC2034
# Flags of the scripts in this folder: --name=value, then -- and a command. To be sourced.
#
# A script lists what it knows with its default in the associative array `flags`, calls
# `read_flags "$@"`, and finds the values in `flags` and the command in `command`. What changes
# anything is called through `act`, which only prints it where --dry_run is given.

declare -A flags=()
command=()

die() {
  echo "error: $*" >&2
  exit 2
}

read_flags() {
  local word name
  flags[dry_run]=${flags[dry_run]:-false}
  while (($#)); do
    word=$1
    shift
    case $word in
      --) command=("$@"); return ;;
      --help | -h) usage; exit 0 ;;
      --dry_run) flags[dry_run]=true ;;
      --*=*)
        name=${word%%=*}
        name=${name#--}
        [[ -v flags[$name] ]] || die "$word is not known: use ${!flags[*]}"
        flags[$name]=${word#*=}
        ;;
      *) die "$word is not --name=value; a command comes after --" ;;
    esac
  done
}

# Usage: need FLAG...
need() {
  local name
  for name in "$@"; do
    [[ -n ${flags[$name]} ]] || die "--$name must be given"
  done
}

# Prints a command as it could be typed, and carries it out unless --dry_run is given.
act() {
  local line
  printf -v line '%q ' "$@"
  echo "+ ${line% }" >&2
  [[ ${flags[dry_run]} == true ]] || "$@"
}

# Prints its arguments as one line of shell.
quoted() {
  local line
  printf -v line '%q ' "$@"
  echo "${line% }"
}
