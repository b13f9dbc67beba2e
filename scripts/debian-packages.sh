# shellcheck shell=bash
# For the set-up scripts, which source it: what they say, and how they install Debian packages. Needs root only where something is missing.
# A script that sources this defines `needs`: lines of "program package", where a program is a name on the PATH or the path of a file.

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
warn() { say "$@" >&2; }

# Packages of `needs` that are not there, each once.
missing_packages() {
  local need package
  while read -r need package; do
    [[ $need == /* && -e $need ]] || command -v "$need" >/dev/null || echo "$package"
  done < <(needs) | sort -u
}

# Debian starts a daemon as soon as its package is installed, unless policy-rc.d refuses. Ours refuses for as long as
# the installation takes; what was there before is put back (also by the next run, when this one is killed).
readonly POLICY=/usr/sbin/policy-rc.d
refuse_daemons() {
  trap allow_daemons EXIT
  if [[ -e $POLICY && ! -e $POLICY.before-setup ]]; then mv "$POLICY" "$POLICY.before-setup"; fi
  printf '#!/bin/sh\nexit 101\n' >"$POLICY"
  chmod 755 "$POLICY"
}
allow_daemons() {
  rm -f "$POLICY"
  if [[ -e $POLICY.before-setup ]]; then mv "$POLICY.before-setup" "$POLICY"; fi
  trap - EXIT
}

# install_packages PACKAGE...: calls `lacking`, which the script defines too, with what is wrong when they cannot be had.
install_packages() {
  if ! command -v apt-get >/dev/null; then
    lacking "not a Debian system: install what these Debian packages hold yourself: $*"
  elif ((EUID != 0)); then
    lacking "missing Debian packages (run 'sudo scripts/${0##*/}' to install them): $*"
  else
    say "installing Debian packages: $*"
    local log=.cache/apt.log installed=
    refuse_daemons
    if apt_get install -y --no-install-recommends "$@" >"$log" 2>&1 ||
      { apt_get update >"$log" 2>&1 && apt_get install -y --no-install-recommends "$@" >>"$log" 2>&1; }; then installed=yes; fi
    allow_daemons
    if [[ -z $installed || -n $(missing_packages) ]]; then
      tail -n 5 "$log" >&2
      lacking "could not install: $* (the whole output is in $log)"
    fi
  fi
}
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@"; }
