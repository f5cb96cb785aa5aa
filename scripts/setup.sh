#!/usr/bin/env bash
# Installs what the tests need: BIRD, FRR, browsers, a QUIC client and network tools for the lab's, Node.js and the suite that it runs for
# internal/conformance. Debian 12, root. May be run again and again: what is there stays as it is. Without root, or on another system,
# it says what is missing and leaves it at that; the suite needs no root.
set -euo pipefail

# program:package. A program that is there is enough, wherever it came from.
needs=(
  ip:iproute2 ss:iproute2 nft:nftables ping:iputils-ping curl:curl
  bird:bird2 vtysh:frr /usr/lib/frr/bgpd:frr chromium:chromium
  firefox-esr:firefox-esr gtlsclient:ngtcp2-client
  node:nodejs npm:npm
)
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # not in every root shell's, such as that of a plain su

missing=()
for need in "${needs[@]}"; do
  program=${need%%:*} package=${need##*:}
  command -v "$program" >/dev/null 2>&1 && continue
  [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
done

# The suite of HTTP cache tests, and what it needs of its dependencies, in a directory of its own. The archive is checked, no script of a
# package runs, and a directory that is not whole does not take its place.
suite_version=0.4.5
suite_sha512=0e3bb037d9d46572d35bec1abf52d1112099355c65f12b21c0ecb8cf5a71b966d6b79fdacbab0cf5043595e6c16833ba3f520c0682ba99d7fe3ee54ffd034bf0
suite=${NEARCAST_CONFORMANCE:-${HOME:-/root}/.cache/nearcast-conformance/http-cache-tests-$suite_version}
have_suite() { [ -e "$suite/package" ] && [ -e "$suite/node_modules/node-fetch" ]; }
install_suite() {
  have_suite && return
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "setup: without node and npm the test of internal/conformance will be skipped"
    return
  fi
  echo "setup: installing http-cache-tests $suite_version into $suite"
  mkdir -p "$(dirname "$suite")"
  rm -rf "$suite".?????? # what a killed run left
  local new npm_flags="--silent --fetch-retries=1 --fetch-timeout=30000" # without a network it must not take minutes
  new=$(mktemp -d "$suite.XXXXXX")
  if ( # in a condition errexit is off
    cd "$new" &&
      npm pack $npm_flags "http-cache-tests@$suite_version" >/dev/null &&
      echo "$suite_sha512  http-cache-tests-$suite_version.tgz" | sha512sum --check --quiet &&
      tar -xzf "http-cache-tests-$suite_version.tgz" &&
      rm "http-cache-tests-$suite_version.tgz" &&
      npm install $npm_flags --prefix . --no-save --no-audit --no-fund --ignore-scripts node-fetch@2.7.0
  ); then
    rm -rf "$suite"
    mv "$new" "$suite"
  else
    rm -rf "$new"
    echo "setup: that failed: is the registry of npm reachable? Without the suite the test of internal/conformance will be skipped"
  fi
}

# For make unit: go test says nothing of a test that is skipped.
if [ "${1:-}" = --suite-missing ]; then
  if ! have_suite || ! command -v node >/dev/null; then
    echo "SKIPPED: the suite of HTTP cache tests (internal/conformance) is not there; make setup installs it"
  fi
  exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
  install_suite
  if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: not root, so no package was installed. Missing for the tests: ${missing[*]}"
  else
    echo "setup: everything is there. The lab tests need root and will be skipped."
  fi
  exit 0
fi

# The routers run in the lab alone: while the packages are installed, no service may start. 101: forbidden by policy.
# The machine's own policy waits beside it, under one name, so that the next run finds it if this one is killed.
policy=/usr/sbin/policy-rc.d
saved=$policy.before-nearcast
mark='# nearcast: no services while its packages are installed'
ours() { grep -qsxF "$mark" "$policy"; }
restore() {
  if ours; then rm -f "$policy"; fi
  if [ -e "$saved" ] || [ -L "$saved" ]; then mv -f "$saved" "$policy"; fi
}
restore # what a killed run left

# FRR's daemons insist that the user they run as is in this group, root or not.
join_frr_group() {
  getent group frrvty >/dev/null || return 0
  id -nG root | tr ' ' '\n' | grep -qx frrvty || usermod -aG frrvty root
}

if [ ${#missing[@]} -eq 0 ]; then
  join_frr_group
  install_suite
  echo "setup: everything is there"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  install_suite
  echo "setup: this is no Debian. Missing for the tests: ${missing[*]}"
  exit 0
fi

trap restore EXIT
if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$saved"; fi
printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
chmod 755 "$policy"

echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
join_frr_group
install_suite
echo "setup: done"
