#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What zero-copy sends of large values cost, over the loopback and over a veth pair between two network namespaces (needs root), in turns.
# A line a turn: path, threshold (0: never), bytes of a value, CPU us of the server a GET, requests/s, sends tried and of these copied.
#   bench/zerocopy.sh [build folder] [rounds]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build} rounds=${2:-5}
space=skerry$$ work=$(mktemp -d)
pids=()

finish() {
    kill "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
    ip netns del "$space" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

ip netns add "$space"
ip link add "v$$" type veth peer name eth0 netns "$space"
ip addr add 10.253.7.1/30 dev "v$$"
ip link set "v$$" up
ip -n "$space" addr add 10.253.7.2/30 dev eth0
ip -n "$space" link set eth0 up
ip -n "$space" link set lo up

start() { # ADDRESS PORT THRESHOLD COMMAND...
    local address=$1 port=$2 threshold=$3
    shift 3
    mkdir "$work/$port"
    "$@" taskset -c 0 "$build/skerryd" --bind "$address" --port "$port" --protected-mode no --workers 1 --pin no --io uring \
        --send-zerocopy-min "$threshold" --dir "$work/$port" >"$work/$port.log" &
    pids+=($!)
}

copied() { # ADDRESS PORT
    exec 3<>"/dev/tcp/$1/$2"
    printf 'INFO stats\r\nQUIT\r\n' >&3
    tr -d '\r' <&3 | awk -F: '/^zerocopy_sends/ { printf " %s", $2 }'
    exec 3>&-
}

start 127.0.0.1 17600 0 env
start 127.0.0.1 17601 65536 env
start 10.253.7.2 17602 0 ip netns exec "$space"
start 10.253.7.2 17603 65536 ip netns exec "$space"
sleep 1
for size in 65536 262144 1048576; do
    keys=$((33554432 / size))
    for i in 0 1 2 3; do
        address=127.0.0.1
        [ $i -lt 2 ] || address=10.253.7.2
        "$build/skerry-bench" --host $address --port 1760$i --keys $keys --value-size $size --preload --duration 0 >/dev/null
    done
    for ((round = 0; round < rounds; round++)); do
        for i in 0 1 2 3; do
            address=127.0.0.1
            [ $i -lt 2 ] || address=10.253.7.2
            answer=$("$build/skerry-bench" --host $address --port 1760$i --keys $keys --value-size $size --mix get --connections 10 --cpu 1 \
                --duration 0.4 --warmup 0.1 --server-pid "${pids[$i]}" --json)
            echo "$([ $i -lt 2 ] && echo loopback || echo veth) $((i % 2 * 65536)) $size" \
                "$(sed -E 's/.*"requests_per_second":([0-9.]+).*"server":\{[^}]*"cpu_us_per_request":([0-9.]+).*/\2 \1/' <<<"$answer")" \
                "$(copied $address 1760$i)"
        done
    done
done
