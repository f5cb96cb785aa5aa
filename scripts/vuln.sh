#!/bin/sh
# Runs govulncheck; where its database cannot be reached it says so and passes: vuln.sh GO PACKAGE@VERSION
set -eu
out=$(mktemp)
trap 'rm -f "$out"' EXIT
if "$1" run "$2" ./... >"$out" 2>&1; then
	cat "$out"
elif grep -qE 'vuln\.go\.dev|fetching vulnerabilities|no such host|connection refused|403 Forbidden' "$out" && ! grep -q '^Vulnerability #' "$out"; then
	echo "SKIPPED govulncheck: its database cannot be reached from here:"
	tail -n 2 "$out"
else
	cat "$out"
	exit 1
fi
