#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Where the server's CPU time goes: starts PROGRAM on core 0, loads it from core 1, and prints perf's list of functions.
#   bench/profile.sh [-m MIX] [-p PIPELINE] [-k KEYS] [-s SECONDS] [-g] PROGRAM [ARGUMENT...]
# The program must listen on port 16381. -g prints callers too. The sampling clock is cpu-clock: works in virtual machines.
#   bench/profile.sh -m get -p 64 build/skerryd --port 16381 --io uring --workers 1 --shards 1
set -eu
build=${BUILD:-$(dirname "$0")/../build}
mix=get pipeline=16 keys=1000000 seconds=4 callers=no
while getopts m:p:k:s:g option; do
    case $option in
    m) mix=$OPTARG ;;
    p) pipeline=$OPTARG ;;
    k) keys=$OPTARG ;;
    s) seconds=$OPTARG ;;
    g) callers=yes ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "profile.sh: which program?" >&2; exit 2; }

work=$(mktemp -d)
taskset -c 0 "$@" >"$work/log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null; rm -rf "$work"' EXIT

load() {
    "$build/skerry-bench" --port 16381 --cpu 1 --keys "$keys" "$@"
}

tries=0
until load --requests 1 --mix ping --connections 1 >/dev/null 2>&1 ||
    load --requests 1 --mix echo --connections 1 >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 50 ] || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
[ "$mix" = echo ] || load --preload --duration 0
load --mix "$mix" --pipeline "$pipeline" --duration "$seconds" --server-pid $server >"$work/answer" &
bench=$!
sleep 1
perf record -q -e cpu-clock -F 5000 -g -p $server -o "$work/perf.data" -- sleep "$((seconds - 1))" >/dev/null 2>&1
wait $bench
cat "$work/answer"
if [ $callers = yes ]; then
    perf report -i "$work/perf.data" --no-children --stdio -g caller,0.5,callee --max-stack 12 2>/dev/null | grep -v '^#' | head -n 300
else
    perf report -i "$work/perf.data" --no-children --stdio -g none --percent-limit 0.7 2>/dev/null | grep -v '^#' | grep . | head -n 60
fi
