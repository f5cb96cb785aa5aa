#!/bin/sh
# Runs every fuzz test of the module for a time: fuzz.sh GO DURATION
set -eu
go=$1 time=$2
for dir in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
	for f in $(grep -rhoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' "$dir"/*_test.go | awk '{print $2}' | sort -u); do
		echo "== $dir $f"
		"$go" test -run '^$' -fuzz "^$f\$" -fuzztime "$time" "$dir"
	done
done
