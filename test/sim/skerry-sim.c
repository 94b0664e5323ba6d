// SPDX-License-Identifier: Apache-2.0
// skerry-sim: whole servers with their clients in a simulated world, one history a seed, each run twice.
//
//   skerry-sim --seeds 0:500             many
//   skerry-sim --seed 17 [--verbose]     one, told as it goes
//   skerry-sim --list FILE               the seeds of a file, one a line, `#` comments
//   skerry-sim --history --seeds 0:1000  the clients share all keys; what they saw is checked afterwards (docs/CHECKING.md)
//   skerry-sim --durable --seeds 0:1000  the server has a disk, is killed and comes back; what is found then is checked
//   ... --durable --snapshots --switches   and its clients ask for snapshots, and switch the log on and off
//   skerry-sim --planted                 the world breaks its promises: the checkers must notice each time
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/shard/gate.h"
#include "engine/shard/txn.h"
#include "persist/log.h"
#include "persist/recover.h"
#include "reactor/clock.h"
#include "test/sim/sim.h"

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1"; // so that the seed is named
}

static struct {
    uint64_t from, to;
    const char *list;
    uint64_t steps;
    bool one, verbose, planted, once, history, durable, snapshots, switches;
} options = { .from = 0, .to = 100 };

static const char *program;
static volatile uint64_t current_seed;
static volatile bool quiet_death;
static int passed, failures;
static uint64_t commands, steps, switched, switches_cut, levels;

static const char *mode_name(void)
{
    static char text[64];
    snprintf(text, sizeof text, "%s%s%s%s", options.history ? " --history" : "", options.durable ? " --durable" : "",
             options.snapshots ? " --snapshots" : "", options.switches ? " --switches" : "");
    return text;
}

static void say_how(uint64_t seed)
{
    printf("    replay: %s%s --seed %" PRIu64 " --verbose\n", program, mode_name(), seed);
}

// An assertion of the product, or a sanitizer.
static void on_abort(int signal_number)
{
    char line[256];
    int n = snprintf(line, sizeof line,
                     "FAIL seed %" PRIu64 ": signal %d\n    replay: %s%s --seed %" PRIu64 " --verbose\n%d passed, %d failed\n",
                     current_seed, signal_number, program, mode_name(), current_seed, passed, failures + 1);
    if (!quiet_death && n > 0)
        (void)!write(STDOUT_FILENO, line, (size_t)n);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void run_seed(uint64_t seed)
{
    struct sim_options o = { .seed = seed,
                             .steps = options.steps,
                             .verbose = options.verbose,
                             .history = options.history,
                             .durable = options.durable,
                             .snapshots = options.snapshots,
                             .switches = options.switches };
    struct sim_result first, second;
    current_seed = seed;
    sim_run(&o, &first);
    if (first.failure[0] == '\0' && !options.once) {
        o.verbose = false;
        sim_run(&o, &second);
        if (first.trace != second.trace)
            snprintf(first.failure, sizeof first.failure, "the same seed ran differently the second time");
    }
    commands += first.commands;
    steps += first.steps;
    switched += first.switched;
    switches_cut += first.switches_cut;
    levels += first.levels;
    if (options.verbose)
        printf("%" PRIu64 " steps, %" PRIu64 " commands, %" PRIu64 " virtual ms, trace %016" PRIx64 "\n", first.steps, first.commands,
               first.virtual_ms, first.trace);
    if (first.failure[0] == '\0') {
        passed++;
        return;
    }
    failures++;
    printf("FAIL seed %" PRIu64 ": %s\n", seed, first.failure);
    say_how(seed);
}

static int run_list(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[256];
    if (file == NULL) {
        perror(path);
        return 1;
    }
    while (fgets(line, sizeof line, file) != NULL)
        if (line[0] >= '0' && line[0] <= '9')
            run_seed(strtoull(line, NULL, 10));
    fclose(file);
    return 0;
}

// ---- tests of the tests

// In a process of its own, because a product that is lied to may well die of an assertion: that counts as noticed.
enum outcome { NOT_STRUCK, NOTICED, MISSED };

struct planted {
    const char *name;
    struct sim_options options; // but for the seed
};

static enum outcome try_planted(const struct planted *p, uint64_t seed)
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct sim_options o = p->options;
        enum world_bug bug = o.bug;
        struct sim_result first, second = { .trace = 0 };
        o.seed = seed;
        quiet_death = true;
        fclose(stderr);
        alarm(30);
        sim_run(&o, &first);
        if (bug == BUG_UNSEEDED)
            sim_run(&o, &second);
        bool noticed = first.failure[0] != '\0' || (bug == BUG_UNSEEDED && first.trace != second.trace);
        bool struck = first.bug_struck || bug == BUG_LOST_BYTE || bug == BUG_SLOW_CLOCK || bug == BUG_UNSEEDED || o.wrong_counter ||
                      first.lies > 0 || o.fault != 0 || o.durable;
        _exit(noticed ? NOTICED : struck ? MISSED : NOT_STRUCK);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return MISSED;
    return WIFEXITED(status) ? (enum outcome)WEXITSTATUS(status) : NOTICED;
}

#define PLANTED_SEEDS 60
#define DURABLE_SEEDS 400 // lives are short, and a crash has to come at the moment

static void planted(const char *name, struct sim_options o)
{
    struct planted p = { name, o };
    int struck = 0, noticed = 0;
    uint64_t most = o.durable ? DURABLE_SEEDS : PLANTED_SEEDS;
    for (uint64_t seed = 0; seed < most && noticed == 0; seed++) {
        enum outcome outcome = try_planted(&p, seed);
        struck += outcome != NOT_STRUCK;
        noticed += outcome == NOTICED;
    }
    printf("%s planted %s: noticed in %d of %d histories that had it\n", noticed > 0 ? "ok  " : "FAIL", name, noticed, struck);
    if (noticed > 0)
        passed++;
    else
        failures++;
}

static void run_planted(void)
{
    for (int bug = BUG_NONE + 1; bug < BUG_COUNT; bug++)
        planted(world_bug_name((enum world_bug)bug), (struct sim_options){ .bug = (enum world_bug)bug });
    planted("wrong-counter", (struct sim_options){ .wrong_counter = true });
    planted("lost-wake in a history", (struct sim_options){ .bug = BUG_LOST_WAKE, .history = true });
    planted("half-applied transaction", (struct sim_options){ .fault = TXN_FAULT_HALF });
    planted("half-applied transaction in a history", (struct sim_options){ .fault = TXN_FAULT_HALF, .history = true });
    planted("stale WATCH", (struct sim_options){ .fault = TXN_FAULT_STALE_WATCH, .history = true });
    planted("early reply", (struct sim_options){ .gate_fault = GATE_FAULT_EARLY_REPLY, .durable = true });
    planted("dirty read", (struct sim_options){ .gate_fault = GATE_FAULT_DIRTY_READ, .durable = true });
    planted("transactions without markers", (struct sim_options){ .gate_fault = GATE_FAULT_NO_MARKERS, .durable = true });
    planted("a log that is on before it is durable",
            (struct sim_options){ .gate_fault = GATE_FAULT_EARLY_ON, .durable = true, .switches = true });
    planted("a log that is left in the middle of transactions",
            (struct sim_options){ .gate_fault = GATE_FAULT_LOOSE_OFF, .durable = true, .switches = true });
    planted("a written frame counts as durable", (struct sim_options){ .log_fault = LOG_FAULT_EARLY_ACK, .durable = true });
    planted("transaction in different units", (struct sim_options){ .log_fault = LOG_FAULT_HALF_TXN, .durable = true });
    planted("sync that covers too much", (struct sim_options){ .log_fault = LOG_FAULT_SYNC_ALL, .durable = true });
    planted("torn frame accepted", (struct sim_options){ .recover_fault = RECOVER_FAULT_TORN_FRAME, .durable = true });
    planted("directory not synced", (struct sim_options){ .names_fault = true, .durable = true });
    for (int lie = LIE_NONE + 1; lie < LIE_COUNT; lie++)
        planted(lie_name((enum lie)lie), (struct sim_options){ .lie = (enum lie)lie, .history = true });
}

// ----

static int usage(void)
{
    fprintf(stderr,
            "usage: %s [--seeds FROM:TO | --seed N | --list FILE | --planted] [--history | --durable [--snapshots] [--switches]] [--steps "
            "N] [--once] "
            "[--verbose]\n",
            program);
    return 2;
}

static bool parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0)
            options.verbose = true;
        else if (strcmp(argv[i], "--planted") == 0)
            options.planted = true;
        else if (strcmp(argv[i], "--history") == 0)
            options.history = true;
        else if (strcmp(argv[i], "--durable") == 0)
            options.durable = true;
        else if (strcmp(argv[i], "--snapshots") == 0)
            options.snapshots = true;
        else if (strcmp(argv[i], "--switches") == 0)
            options.switches = true;
        else if (strcmp(argv[i], "--once") == 0)
            options.once = true;
        else if (strcmp(argv[i], "--steps") == 0)
            options.steps = strtoull(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--list") == 0)
            options.list = value, i++;
        else if (strcmp(argv[i], "--seed") == 0)
            options.from = strtoull(value, NULL, 10), options.to = options.from + 1, options.one = true, i++;
        else if (strcmp(argv[i], "--seeds") == 0 && sscanf(value, "%" SCNu64 ":%" SCNu64, &options.from, &options.to) == 2)
            i++;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (!parse(argc, argv))
        return usage();
    signal(SIGABRT, on_abort);
    setvbuf(stdout, NULL, _IOLBF, 0);
    uint64_t start = clock_now_ns();
    if (options.planted)
        run_planted();
    else if (options.list != NULL && run_list(options.list) != 0)
        return 1;
    else if (options.list == NULL)
        for (uint64_t seed = options.from; seed < options.to; seed++)
            run_seed(seed);
    uint64_t ms = (clock_now_ns() - start) / NS_PER_MS;
    printf("%" PRIu64 " commands, %" PRIu64 " steps, %" PRIu64 ".%03" PRIu64 " s\n", commands, steps, ms / 1000, ms % 1000);
    if (options.durable)
        printf("%" PRIu64 " requests asked for more than the server gives\n", levels);
    if (options.switches)
        printf("the log was switched %" PRIu64 " times, and %" PRIu64 " switches were cut by a crash\n", switched, switches_cut);
    printf("%d passed, %d failed\n", passed, failures);
    fflush(stdout);
    if (options.durable)
        _exit(failures > 0); // who is killed gives nothing back: a search for leaks would find what was on its way between workers
    return failures > 0;
}
