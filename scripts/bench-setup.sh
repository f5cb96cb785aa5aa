#!/usr/bin/env bash
# Installs the servers that nearcast is measured against: nginx, HAProxy, Varnish, Traffic Server, H2O and, as a second opinion on the load,
# nghttp2's h2load from Debian; Caddy through the Go proxy. Debian 12, root. May be run again and again: what is there stays as it is.
# No service starts, and none is left enabled that was not there before.
set -euo pipefail

caddy_version=v2.11.9
cache=${NEARCAST_BENCH_CACHE:-$HOME/.cache/nearcast-bench}
go=${GO:-go}

# program:package. A program that is there is enough, wherever it came from.
needs=(
  ip:iproute2 taskset:util-linux
  nginx:nginx-light haproxy:haproxy varnishd:varnish traffic_server:trafficserver h2o:h2o h2load:nghttp2-client
)
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # not in every root shell's, such as that of a plain su

missing=()
for need in "${needs[@]}"; do
  program=${need%%:*} package=${need##*:}
  command -v "$program" >/dev/null 2>&1 || missing+=("$package")
done

install_caddy() {
  if "$go" version -m "$cache/bin/caddy" 2>/dev/null | grep -qE "caddyserver/caddy/v2[[:space:]]+$caddy_version[[:space:]]"; then return; fi
  echo "bench-setup: building Caddy $caddy_version into $cache/bin"
  mkdir -p "$cache/bin"
  # Outside of the module, so that its go.mod has no say.
  (cd "$cache" && GOBIN="$cache/bin" GOFLAGS= CGO_ENABLED=0 "$go" install "github.com/caddyserver/caddy/v2/cmd/caddy@$caddy_version")
}

if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" -ne 0 ]; then
    echo "bench-setup: not root, so nothing was installed from Debian. Missing: ${missing[*]}"
    install_caddy
    exit 0
  fi
  if ! command -v apt-get >/dev/null; then
    echo "bench-setup: this is no Debian. Missing: ${missing[*]}"
    install_caddy
    exit 0
  fi
fi

# The servers run in the measuring room alone: while the packages are installed, no service may start. 101: forbidden by policy.
# The machine's own policy waits beside it, under one name, so that the next run finds it if this one is killed.
policy=/usr/sbin/policy-rc.d
saved=$policy.before-nearcast
mark='# nearcast: no services while its packages are installed'
ours() { grep -qsxF "$mark" "$policy"; }
restore() {
  if ours; then rm -f "$policy"; fi
  if [ -e "$saved" ] || [ -L "$saved" ]; then mv -f "$saved" "$policy"; fi
}

# Packages enable their units for the next boot. Those that came with this run are not to take the machine's ports then.
disable_services() {
  command -v systemctl >/dev/null || return 0
  local package
  for package in "${missing[@]}"; do
    case $package in
      nginx-light) systemctl disable --quiet nginx.service ;;
      haproxy) systemctl disable --quiet haproxy.service ;;
      varnish) systemctl disable --quiet varnish.service varnishncsa.service ;;
      trafficserver) systemctl disable --quiet trafficserver.service ;;
      h2o) systemctl disable --quiet h2o.service ;;
    esac 2>/dev/null || true # no such unit, or no systemd at work
  done
}

if [ ${#missing[@]} -gt 0 ]; then
  restore # what a killed run left
  trap restore EXIT
  if [ -e "$policy" ] || [ -L "$policy" ]; then mv "$policy" "$saved"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
  chmod 755 "$policy"
  echo "bench-setup: installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  disable_services
fi
install_caddy
echo "bench-setup: everything is there"
