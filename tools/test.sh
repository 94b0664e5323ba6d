#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds every variant and runs everything; the last line says "N passed, N failed".
#   tools/test.sh                 all stages
#   tools/test.sh --quick         without sanitizers and fuzzing
#   tools/test.sh --only NAME     one stage (or several, separated by commas)
# Stages: gcc model sim crash server power compat clang check asan tsan fuzz (asan-server and tsan-server are the other half of theirs)
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
fuzz_seconds=${FUZZ_SECONDS:-20}

# Shows what a stage's log says, and keeps its last "N passed, N failed"; a stage that ended without one has failed once.
count() { # NAME STATUS SECONDS CPU-SECONDS
    local log=$logs/$1.log line p f text=
    line=$(grep -aE '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1)
    read -r p _ f _ <<<"${line:-0 passed, 0 failed}"
    if [ "$2" -ne 0 ] && [ "$f" -eq 0 ]; then
        f=1
        text=$(tail -n 30 "$log" | sed 's/^/    /')
    else
        text=$(grep -aE '^(FAIL|SKIP|UNSTEADY)|^    ' "$log" | head -n 200)
    fi
    printf '%s%-11s %s passed, %s failed (%s s, %s s of CPU)\n' "${text:+$text$'\n'}" "$1" "$p" "$f" "$3" "$4"
    echo "$p $f" >"$logs/$1.count"
}

wanted() {
    if [ -n "$only" ]; then
        [[ $only == *,$1,* || $only == *,${1%-server},* ]]
        return
    fi
    if [ -n "$quick" ]; then
        case $1 in asan* | tsan* | fuzz)
            echo "SKIP $1: --quick"
            return 1
            ;;
        esac
    fi
}

stage() { # NAME
    local name=$1 start=$SECONDS status=0 cpu
    wanted "$name" || return 0
    cpu=$(TIMEFORMAT='%U %S' && { time "stage_$name" >"$logs/$name.log" 2>&1 </dev/null; } 2>&1) || status=$?
    count "$name" "$status" "$((SECONDS - start))" "$(awk '{ printf "%.0f", $1 + $2 }' <<<"$cpu")"
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

# Sanitized code that is optimized little, and stops at the first finding, is built in half the time and runs nearly as fast.
sanitized=(-Ddebug=true -Db_lundef=false -Daudit=true -Dwerror=false)

build_asan() { # what no test runs is built elsewhere
    build build-asan gcc "${sanitized[@]}" -Doptimization=g -Db_sanitize=address,undefined '-Dc_args=-g1 -fno-sanitize-recover=undefined' -- \
        skerryd skerry-admin skerry-bench skerry-echo test/history/skerry-history meson-test-prereq
}

build_tsan() { # run_suites builds the tests that it runs
    build build-tsan clang "${sanitized[@]}" -Doptimization=1 -Db_sanitize=thread -Dc_args=-g1 -- \
        skerryd skerry-admin skerry-bench skerry-echo test/history/skerry-history
}

build_fuzz() {
    local targets=(test/fuzz/*.c)
    targets=("${targets[@]/#test\/fuzz\//test/fuzz/fuzz-}")
    build build-fuzz clang "${sanitized[@]}" -Doptimization=1 -Dfuzz=true -Db_sanitize=address,undefined \
        '-Dc_args=-g1 -fno-sanitize-recover=undefined -fsanitize=fuzzer-no-link' -- "${targets[@]%.c}" subprojects/skerry-client/fuzz/fuzz-client
}

# Builds for those of these stages that are wanted.
make_for() { # NAME STAGES...
    local name=$1 stage status=0
    shift
    for stage in "$@"; do
        wanted "$stage" >/dev/null || continue
        "build_$name" >"$logs/$name-build.log" 2>&1 </dev/null || status=$?
        echo "$status" >"$logs/$name-build.status"
        return
    done
}

# Waits for the build of that name.
built() { # NAME
    while [ ! -f "$logs/$1-build.status" ] && kill -0 "$lane" 2>/dev/null; do sleep 0.2; done
    [ "$(cat "$logs/$1-build.status")" = 0 ] || { cat "$logs/$1-build.log" && return 1; }
}

run_suites() { # FOLDER SECONDS-FACTOR SUITES...
    local folder=$1 factor=$2 suite again
    shift 2
    local arguments=() log=$folder/meson-logs/$1
    for suite in "$@"; do arguments+=(--suite "$suite"); done
    rm -f "$log.json" "$log-again.json"
    timeout -k 10 600 meson test -C "$folder" --logbase "$1" -t "$factor" "${arguments[@]}"
    mapfile -t again < <(python3 test/check/tally.py --look-again "$log.json")
    if [ -z "${again[*]}" ]; then
        python3 test/check/tally.py "$log.json"
        return
    fi
    timeout -k 10 600 meson test -C "$folder" --no-rebuild --logbase "$1-again" --num-processes 1 -t "$factor" "${again[@]}"
    python3 test/check/tally.py "$log.json" "$log-again.json"
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
    timeout -k 10 400 python3 test/server/run.py --build "$folder" -j 4 --not test_power "$@"
}

stage_gcc() {
    built gcc && run_suites build 2 unit
}

stage_clang() {
    built clang && run_suites build-clang 4 unit
}

stage_check() {
    built clang && beside python3 test/check/coverage.py . -- run_suites build-clang 4 check
}

stage_model() {
    timeout -k 10 300 python3 test/model/run.py
}

stage_sim() {
    built gcc && run_suites build 4 sim
}

# Longer: CRASH_STATES=10000000 tools/test.sh --only crash
stage_crash() {
    built gcc || return 1
    if [ -n "${CRASH_STATES:-}" ]; then
        together build/test/crash/skerry-crash --states "$CRASH_STATES" -- build/test/crash/skerry-crash --rot --states "$CRASH_STATES"
    else
        run_suites build 4 crash
    fi
}

stage_server() {
    built gcc || return 1
    together server_tests build -- python3 test/server/sysctl.py build -- server_tests build --appendonly always --io uring --workers 2 --shards 8 \
        -k test_commands,test_transactions,test_pipeline,test_large -- server_tests build --appendonly everysec --workers 2 --shards 8 \
        -k test_commands,test_save
}

# What a killed process, a power cut and a failing disk leave. Longer: SKERRY_POWER_ROUNDS=1000 tools/test.sh --only power
stage_power() {
    built gcc || return 1
    timeout -k 10 "$((300 + ${SKERRY_POWER_ROUNDS:-50} * 4))" python3 test/server/run.py --build build -j 2 -k test_power --workers 2 --shards 8
}

stage_compat() {
    built gcc && timeout -k 10 300 python3 test/compat/run.py --build build
}

# Blocks of memory are not filled before use, as they are in the other runs: it would keep large ones from having large pages.
sanitizers() {
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 ASAN_OPTIONS=detect_leaks=1:max_malloc_fill_size=0
    export TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1 SKERRY_TEST_SLOW=8
}

stage_asan() {
    built asan && sanitizers && run_suites build-asan 8 unit sim crash
}

stage_asan-server() {
    built asan && sanitizers && server_tests build-asan --workers 2 --shards 8
}

# What crosses threads; the rest of the code has one.
stage_tsan() {
    built tsan && sanitizers && run_suites build-tsan 8 threads
}

stage_tsan-server() {
    built tsan && sanitizers && server_tests build-tsan --workers 2 --shards 2 \
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

# Two lanes. Tests of a server wait for sockets, disks and clocks half of their time; whatever only computes does so beside them, at a lower
# priority. Fuzzers get the time that they are promised: alone.
front() {
    for name in gcc server power compat asan-server tsan-server; do stage "$name"; done
}

back() {
    renice -n 10 "$BASHPID" >/dev/null
    make_for clang clang check
    make_for asan asan asan-server
    stage model
    stage sim
    stage crash
    make_for tsan tsan tsan-server
    stage clang
    stage check
    make_for fuzz fuzz
    stage asan
    stage tsan
}

lane=
trap '[ -z "$lane" ] || kill -- "-$lane" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
make_for gcc gcc sim crash server power compat
set -m # a group of processes of its own, to end as one
back &
lane=$!
set +m
front
wait "$lane"
lane=
stage fuzz
passed=0 failed=0
for name in gcc model sim crash server power compat clang check asan asan-server tsan tsan-server fuzz; do
    wanted "$name" >/dev/null || continue
    read -r p f < <(cat "$logs/$name.count" 2>/dev/null || echo 0 1) # a lane that ended early has failed
    passed=$((passed + p)) failed=$((failed + f))
done
echo "logs are in build-logs/; all took $SECONDS s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
