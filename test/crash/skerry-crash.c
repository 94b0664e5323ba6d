// SPDX-License-Identifier: Apache-2.0
// skerry-crash: the log, its keeper and recovery on a disk whose power goes at every moment (docs/CHECKING.md).
//
//   skerry-crash --states 200000 [--seed S]     runs from seed S on until so many disks were looked at
//   skerry-crash --seed S --state N --verbose   one of them, told as it goes
//   skerry-crash --rot --states 100000          damage at rest instead of crashes
//   skerry-crash --names                        every sequence of up to 4 operations on a new segment's file and names
//   skerry-crash --planted                      faults in the log, its keeper and recovery: each must be noticed
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/clock.h"
#include "test/crash/names.h"
#include "test/crash/planted.h"
#include "test/crash/rot.h"

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "abort_on_error=1"; // so that the seed is named
}

#define ROT_IMAGES 500 // of a seed

static struct {
    uint64_t seed, states, state;
    bool verbose, rot, names, planted;
} options = { .seed = 0, .states = 20000, .state = SWEEP_ALL };

static const char *program;
static volatile uint64_t current_seed;
static int failures;

static void on_abort(int signal_number)
{
    char line[256];
    int n = snprintf(line, sizeof line, "FAIL seed %" PRIu64 ": signal %d\n    replay: %s --seed %" PRIu64 "\n0 passed, %d failed\n",
                     current_seed, signal_number, program, current_seed, failures + 1);
    if (n > 0)
        (void)!write(STDOUT_FILENO, line, (size_t)n);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void report(uint64_t seed, const struct sweep_result *r)
{
    if (r->check == CHECK_NONE)
        return;
    failures++;
    printf("FAIL seed %" PRIu64 ", state %" PRIu64 ": %s\n", seed, r->state, r->text);
    printf("    replay: %s%s --seed %" PRIu64 " --state %" PRIu64 " --verbose\n", program,
           options.rot     ? " --rot"
           : options.names ? " --names"
                           : "",
           seed, r->state);
}

static int run_sweep(void)
{
    uint64_t states = 0, lives = 0, seeds = 0;
    uint64_t start = clock_now_ns();
    for (uint64_t seed = options.seed; states < options.states && failures < 20; seed++, seeds++) {
        uint64_t left = options.states - states;
        struct sweep_options o = { .seed = seed, .most = left, .only = options.state, .verbose = options.verbose };
        if (options.rot && left > ROT_IMAGES)
            o.most = ROT_IMAGES;
        struct sweep_result r;
        current_seed = seed;
        if (options.rot)
            rot_run(&o, &r);
        else
            sweep_run(&o, &r);
        report(seed, &r);
        states += r.states;
        lives += r.lives;
        if (options.state != SWEEP_ALL)
            break;
    }
    uint64_t ms = (clock_now_ns() - start) / NS_PER_MS;
    if (options.rot)
        printf("%" PRIu64 " refused, %" PRIu64 " whole, %" PRIu64 " with an end that had no witness\n", rot_counts.refused,
               rot_counts.harmless, rot_counts.unwitnessed);
    printf("%" PRIu64 " seeds, %" PRIu64 " lives, %" PRIu64 ".%03" PRIu64 " s\n", seeds, lives, ms / 1000, ms % 1000);
    printf("%" PRIu64 " passed, %d failed\n", states - (uint64_t)failures, failures);
    return failures > 0;
}

// All of them behind each of a few runs.
static int run_names(void)
{
    uint64_t states = 0, last = options.state == SWEEP_ALL ? options.seed + 2 : options.seed;
    for (uint64_t seed = options.seed; seed <= last; seed++) {
        struct sweep_options o = { .seed = seed, .only = options.state, .verbose = options.verbose };
        struct sweep_result r;
        current_seed = seed;
        names_run(&o, 4, &r);
        report(seed, &r);
        states += r.states;
    }
    printf("%" PRIu64 " passed, %d failed\n", states - (uint64_t)failures, failures);
    return failures > 0;
}

static int run_planted(void)
{
    uint64_t passed = 0;
    planted_run(&passed, &failures);
    printf("%" PRIu64 " passed, %d failed\n", passed, failures);
    return failures > 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: %s [--planted | [--rot | --names] [--states N] [--seed S [--state N]] [--verbose]]\n", program);
    return 2;
}

static bool parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--verbose") == 0)
            options.verbose = true;
        else if (strcmp(argv[i], "--rot") == 0)
            options.rot = true;
        else if (strcmp(argv[i], "--names") == 0)
            options.names = true;
        else if (strcmp(argv[i], "--planted") == 0)
            options.planted = true;
        else if (strcmp(argv[i], "--states") == 0)
            options.states = strtoull(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--seed") == 0)
            options.seed = strtoull(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--state") == 0)
            options.state = strtoull(value, NULL, 10), i++;
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
    return options.planted ? run_planted() : options.names ? run_names() : run_sweep();
}
