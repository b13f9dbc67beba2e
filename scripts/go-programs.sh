# shellcheck shell=bash
# For the set-up scripts, which source it: programs of Kubernetes, built into .cache/bin from the Go modules that conformance/kubernetes/go.mod pins.
# A script that sources this defines `programs`: lines of "name package module", and STAMP, a file of its own in .cache/bin.

readonly MODULE=conformance/kubernetes
readonly LIMIT=3600

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
fail() {
  say "$@" >&2
  exit 1
}

pinned() { awk -v module="$1" '$1 == module && $2 ~ /^v/ { print $2; exit }' "$MODULE/go.mod"; }
wanted() { { cat "$MODULE/go.mod" "$MODULE/go.sum" && declare -f build; } | sha256sum | cut -d ' ' -f 1; }

stale() {
  local program
  while read -r program _; do [[ -x .cache/bin/$program ]] || return 0; done < <(programs)
  [[ $(cat "$STAMP" 2>/dev/null) != "$(wanted)" ]]
}

check_go() {
  local needed have
  needed=go$(awk '$1 == "go" { print $2; exit }' "$MODULE/go.mod")
  command -v go >/dev/null || fail "no Go on this machine: Kubernetes is built from its Go module and needs $needed or newer"
  have=$(GOTOOLCHAIN=local go env GOVERSION)
  [[ $(printf '%s\n' "$needed" "$have" | sort -V | head -n 1) == "$needed" ]] ||
    fail "this is $have: Kubernetes is built from its Go module and needs $needed or newer"
}

# build NAME PACKAGE VERSION
build() {
  local name=$1 package=$2 version=$3 started=$SECONDS
  local log=$PWD/.cache/$name.log out=$PWD/.cache/bin/$name flags="-s -w"
  local from=k8s.io/component-base/version
  # Without these it calls itself v0.0.0-master.
  if [[ $package == k8s.io/* ]]; then
    flags+=" -X $from.gitVersion=$version -X $from.gitMajor=$(cut -d . -f 1 <<<"${version#v}") -X $from.gitMinor=$(cut -d . -f 2 <<<"$version")"
  fi
  say "building $name $version (its output is in $log)"
  if ! (cd "$MODULE" && GOTOOLCHAIN=local GOWORK=off GOFLAGS=-mod=readonly CGO_ENABLED=0 timeout "$LIMIT" \
    go build -trimpath -ldflags "$flags" -o "$out.new" "$package") >"$log" 2>&1; then
    rm -f "$out.new"
    tail -n 5 "$log" >&2
    fail "$name $version cannot be built here: see above, and $log"
  fi
  mv "$out.new" "$out"
  say "built $name in $((SECONDS - started)) s"
}

# Builds them all, where one is missing or go.mod or the way of building has changed. Safe to run twice at once.
build_programs() {
  local name package module
  stale || return 0
  check_go
  mkdir -p .cache/bin
  exec 9>.cache/go-programs.lock
  flock 9 # another run in this checkout may be at work; look again when it is done
  stale || return 0
  rm -f "$STAMP"
  while read -r name package module <&8; do
    build "$name" "$package" "$(pinned "$module")"
  done 8< <(programs)
  wanted >"$STAMP"
}
