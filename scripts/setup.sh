#!/usr/bin/env bash
# Installs what the lab's tests need: BIRD, FRR, Chromium and network tools. Debian 12, root. May be run again and again: what is there
# stays as it is. Without root, or on another system, it says what is missing and leaves it at that.
set -euo pipefail

# program:package. A program that is there is enough, wherever it came from.
needs=(
  ip:iproute2 ss:iproute2 nft:nftables ping:iputils-ping curl:curl
  bird:bird2 vtysh:frr /usr/lib/frr/bgpd:frr chromium:chromium
)
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # not in every root shell's, such as that of a plain su

missing=()
for need in "${needs[@]}"; do
  program=${need%%:*} package=${need##*:}
  command -v "$program" >/dev/null 2>&1 && continue
  [[ " ${missing[*]-} " == *" $package "* ]] || missing+=("$package")
done

if [ "$(id -u)" -ne 0 ]; then
  if [ ${#missing[@]} -gt 0 ]; then
    echo "setup: not root, so nothing was installed. Missing for the lab tests: ${missing[*]}"
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
  echo "setup: everything is there"
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "setup: this is no Debian. Missing for the lab tests: ${missing[*]}"
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
echo "setup: done"
