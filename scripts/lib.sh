# Functions that the scripts in this folder share. Sourced, never run.

script_name=$(basename -- "$0")
script_started=$SECONDS

# A progress line: the script's name and the seconds since it started.
say() { printf '%s [%3ds] %s\n' "$script_name" "$((SECONDS - script_started))" "$*" >&2; }

# The last line of a script that cannot go on: what happened and what to do next.
die() {
  printf '%s: %s\n' "$script_name" "$*" >&2
  exit 1
}

# Runs a command as root: directly, or through sudo. Dies where neither is possible.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo -- "$@"
  else
    die "'$1' needs root, and there is no sudo: run this as root"
  fi
}

# Prints those of the named Debian packages that are not installed, in one query.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p' || true)
  comm -23 <(printf '%s\n' "$@" | LC_ALL=C sort -u) <(printf '%s\n' "$installed" | LC_ALL=C sort -u)
}

# Installs Debian packages. Services do not start: a build machine or a container wants the programs, not their daemons.
install_packages() {
  local policy=/usr/sbin/policy-rc.d made_policy=false log status=0
  log=$(mktemp)
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 0755 "$policy"
    made_policy=true
  fi
  {
    as_root apt-get -q -o Acquire::Retries=3 update &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@"
  } >"$log" 2>&1 </dev/null || status=$?
  if $made_policy; then as_root rm -f "$policy"; fi
  if [ "$status" -ne 0 ]; then
    tail -n 15 "$log" | sed 's/^/  /' >&2
    rm -f "$log"
    die "apt-get could not install: $*"
  fi
  rm -f "$log"
}
