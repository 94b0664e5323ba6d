#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds every variant and runs everything; the last line says "N passed, N failed".
#   tools/test.sh                 all stages
#   tools/test.sh --quick         without sanitizers and fuzzing
#   tools/test.sh --only NAME     one stage (or several, separated by commas)
# Stages: gcc model sim crash server power compat clang check asan tsan fuzz
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS
export LC_ALL=C.UTF-8

quick= only=
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=1 ;;
    --only) only=,${2:?--only needs a stage}, && shift ;;
    *) echo "test.sh: unknown option $1 (--quick, --only NAME)" >&2 && exit 2 ;;
    esac
    shift
done

logs=$PWD/build-logs
rm -rf "$logs"
mkdir -p "$logs"
export SKERRY_TEST_LOGS=$logs
passed=0 failed=0
fuzz_seconds=${FUZZ_SECONDS:-20}

# Adds the last "N passed, N failed" of a stage's log; a stage that ended without one has failed once.
count() { # NAME STATUS START
    local log=$logs/$1.log line p f
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    read -r p _ f _ <<<"${line:-0 passed, 0 failed}"
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        tail -n 30 "$log" | sed 's/^/    /'
    else
        grep -aE '^(FAIL|SKIP|UNSTEADY)|^    ' "$log" | head -n 200
    fi
    passed=$((passed + p)) failed=$((failed + f))
    printf '%-8s %s passed, %s failed (%s s)\n' "$1" "$p" "$f" "$((SECONDS - $3))"
}

wanted() {
    if [ -n "$only" ]; then
        [[ $only == *,$1,* ]]
        return
    fi
    if [ -n "$quick" ]; then
        case $1 in asan | tsan | fuzz)
            echo "SKIP $1: --quick"
            return 1
            ;;
        esac
    fi
}

stage() { # NAME COMMAND...
    local name=$1 start=$SECONDS status=0
    wanted "$name" || return 0
    "stage_$name" >"$logs/$name.log" 2>&1 </dev/null || status=$?
    count "$name" "$status" "$start"
}

build() { # FOLDER COMPILER OPTIONS... [-- TARGETS...]
    local folder=$1 compiler=$2 options=()
    shift 2
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1") && shift; done
    shift
    if [ ! -f "$folder/build.ninja" ]; then
        CC=$compiler meson setup "$folder" "${options[@]}" || return 1
    else
        meson configure "$folder" "${options[@]}" || return 1
    fi
    ninja -C "$folder" "$@" || return 1
}

build_gcc() {
    build build gcc --buildtype=release -Db_lto=true -Dwerror=true
}

build_clang() {
    build build-clang clang --buildtype=release -Dwerror=true
}

# Sanitized code that is optimized little is built in half the time, and runs nearly as fast.
sanitized=(-Doptimization=1 -Ddebug=true -Db_lundef=false -Daudit=true -Dwerror=false)

build_asan() {
    build build-asan gcc "${sanitized[@]}" -Db_sanitize=address,undefined -Dc_args=-g1
}

build_tsan() { # run_suites builds the tests that it runs
    build build-tsan clang "${sanitized[@]}" -Db_sanitize=thread -Dc_args=-g1 -- \
        skerryd skerry-admin skerry-bench skerry-echo test/history/skerry-history
}

build_fuzz() {
    local targets=(test/fuzz/*.c)
    targets=("${targets[@]/#test\/fuzz\//test/fuzz/fuzz-}")
    build build-fuzz clang "${sanitized[@]}" -Dfuzz=true -Db_sanitize=address,undefined '-Dc_args=-g1 -fsanitize=fuzzer-no-link' -- \
        "${targets[@]%.c}" subprojects/skerry-client/fuzz/fuzz-client
}

# Tests of a server wait for sockets, disks and clocks half of their time: compilers work beside them at the lowest priority.
ahead=() lane=
build_ahead() {
    local name
    if wanted clang >/dev/null || wanted check >/dev/null; then ahead+=(clang); fi
    for name in asan tsan fuzz; do
        if wanted "$name" >/dev/null; then ahead+=("$name"); fi
    done
    [ -n "${ahead[*]}" ] || return 0
    set -m # a group of processes of its own, to end as one
    (
        renice -n 19 "$BASHPID" >/dev/null
        for name in "${ahead[@]}"; do
            "build_$name" >"$logs/$name-build.log" 2>&1 </dev/null
            echo $? >"$logs/$name-build.status"
        done
    ) &
    lane=$!
    set +m
}
trap '[ -z "$lane" ] || kill -- "-$lane" 2>/dev/null' EXIT
trap 'exit 130' INT TERM

# The build of that name, made ahead or now.
built() { # NAME
    if [[ " ${ahead[*]} " != *" $1 "* ]]; then
        "build_$1"
        return
    fi
    while [ ! -f "$logs/$1-build.status" ] && kill -0 "$lane" 2>/dev/null; do sleep 0.2; done
    cat "$logs/$1-build.log"
    return "$(cat "$logs/$1-build.status")"
}

run_suites() { # FOLDER SECONDS-FACTOR SUITES...
    local folder=$1 factor=$2 suite
    shift 2
    local arguments=()
    for suite in "$@"; do arguments+=(--suite "$suite"); done
    rm -f "$folder/meson-logs/testlog.json"
    timeout -k 10 600 meson test -C "$folder" -t "$factor" "${arguments[@]}"
    local first=$folder/meson-logs/first.json again
    cp "$folder/meson-logs/testlog.json" "$first"
    mapfile -t again < <(python3 test/check/tally.py --look-again "$first")
    if [ -z "${again[*]}" ]; then
        python3 test/check/tally.py "$first"
        return
    fi
    timeout -k 10 600 meson test -C "$folder" --no-rebuild -j 1 -t "$factor" "${again[@]}"
    python3 test/check/tally.py "$first" "$folder/meson-logs/testlog.json"
}

# The last lines of a stage's parts, added up.
add_up() { # STATUS OUTPUTS...
    local status=$1 sum_p=0 sum_f=0 line p f out
    shift
    for out in "$@"; do
        cat "$out"
        line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed$' "$out" | tail -n 1)
        rm -f "$out"
        read -r p _ f _ <<<"${line:-0 passed, 1 failed}"
        sum_p=$((sum_p + p)) sum_f=$((sum_f + f))
    done
    echo "$sum_p passed, $sum_f failed"
    return "$status"
}

# Several parts of one stage, one after the other.
together() { # COMMAND... separated by "--"
    local status=0 part=() outs=() word
    for word in "$@" --; do
        if [ "$word" != -- ]; then
            part+=("$word")
            continue
        fi
        outs+=("$(mktemp)")
        "${part[@]}" >"${outs[-1]}" 2>&1 || status=1
        part=()
    done
    add_up "$status" "${outs[@]}"
}

# Two parts at the same time: the second waits for sockets, disks and clocks half of its time, which the first one fills.
beside() { # COMMAND... -- COMMAND...
    local status=0 filler=() outs id
    while [ "$1" != -- ]; do filler+=("$1") && shift; done
    shift
    outs=("$(mktemp)" "$(mktemp)")
    (renice -n 19 "$BASHPID" >/dev/null && "${filler[@]}") >"${outs[0]}" 2>&1 &
    id=$!
    "$@" >"${outs[1]}" 2>&1 || status=1
    wait "$id" || status=1
    add_up "$status" "${outs[@]}"
}

server_tests() { # FOLDER OPTIONS...
    local folder=$1
    shift
    timeout -k 10 400 python3 test/server/run.py --build "$folder" -j 3 --not test_power "$@"
}

stage_gcc() {
    built gcc && run_suites build 1 unit
}

stage_clang() {
    built clang && run_suites build-clang 1 unit
}

stage_check() {
    built clang && beside python3 test/check/coverage.py . -- run_suites build-clang 1 check
}

stage_model() {
    timeout -k 10 300 python3 test/model/run.py
}

stage_sim() {
    built gcc && run_suites build 1 sim
}

# Longer: CRASH_STATES=10000000 tools/test.sh --only crash
stage_crash() {
    built gcc || return 1
    if [ -n "${CRASH_STATES:-}" ]; then
        together build/test/crash/skerry-crash --states "$CRASH_STATES" -- build/test/crash/skerry-crash --rot --states "$CRASH_STATES"
    else
        run_suites build 1 crash
    fi
}

stage_server() {
    built gcc || return 1
    together server_tests build -- python3 test/server/sysctl.py build -- server_tests build --appendonly always --io uring --workers 2 --shards 8 \
        -k test_commands,test_transactions,test_pipeline,test_large
}

# What a killed process, a power cut and a failing disk leave. Longer: SKERRY_POWER_ROUNDS=1000 tools/test.sh --only power
stage_power() {
    built gcc || return 1
    timeout -k 10 "$((300 + ${SKERRY_POWER_ROUNDS:-50} * 4))" python3 test/server/run.py --build build -j 2 -k test_power --workers 2 --shards 8
}

stage_compat() {
    built gcc && timeout -k 10 300 python3 test/compat/run.py --build build
}

stage_asan() {
    built asan || return 1
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ASAN_OPTIONS=detect_leaks=1 SKERRY_TEST_SLOW=8
    beside run_suites build-asan 8 unit sim crash -- server_tests build-asan --workers 2 --shards 8
}

# What crosses threads; the rest of the code has one.
stage_tsan() {
    built tsan || return 1
    export TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1 SKERRY_TEST_SLOW=8
    beside run_suites build-tsan 8 threads -- server_tests build-tsan --workers 2 --shards 2 \
        -k pipeline,commands,stream,see_one_redis,on_and_off_many,whatever_is_being_switched,waitaof_while
}

stage_fuzz() {
    built fuzz && python3 test/fuzz/run.py build-fuzz "$fuzz_seconds"
}

if ! sh tools/install-deps.sh test; then
    echo "test.sh: could not install what the tests need"
    echo "0 passed, 1 failed"
    exit 1
fi
for name in gcc sim crash server power compat; do
    if wanted "$name"; then
        build_gcc >"$logs/gcc-build.log" 2>&1 </dev/null # the stages that need it tell what failed
        break
    fi
done
build_ahead
for name in gcc model sim crash server power compat clang check asan tsan fuzz; do
    stage "$name"
done
echo "logs are in build-logs/; all took $SECONDS s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
