// SPDX-License-Identifier: Apache-2.0
#include "test/crash/planted.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "test/crash/names.h"
#include "test/crash/rot.h"
#include "test/crash/sweep.h"

#define SEEDS_MAX  400
#define STATES_MAX 6000

struct planted {
    const char *number; // of the list of planted bugs; "-": one of our own
    const char *name;
    uint32_t checks; // bits of enum crash_check: any of these is what it is known for
    enum { BY_SWEEP, BY_ROT, BY_NAMES } by;
    struct sweep_options options;
};

#define BIT(check) (UINT32_C(1) << (check))
// What is lost is missed by the oracle, or, where a later frame bears witness of it, by recovery itself.
#define LOST_OR_SEEN (BIT(CHECK_LOST) | BIT(CHECK_REFUSED))

static const struct planted PLANTED[] = {
    { "1", "acknowledged before the sync", LOST_OR_SEEN, BY_SWEEP, { .log_fault = LOG_FAULT_EARLY_ACK } },
    { "2", "a short write taken for whole", LOST_OR_SEEN, BY_SWEEP, { .log_fault = LOG_FAULT_SHORT_WRITE, .errors = 100 } },
    { "3",
      "-ECANCELED of a linked sync taken for success",
      LOST_OR_SEEN,
      BY_SWEEP,
      { .log_fault = LOG_FAULT_CANCELED, .errors = 100, .method = LOG_METHOD_LINKED } },
    { "4",
      "a failed sync tried again and believed",
      LOST_OR_SEEN,
      BY_SWEEP,
      { .log_fault = LOG_FAULT_SYNC_AGAIN, .errors = 100, .method = LOG_METHOD_FDATASYNC } },
    { "-",
      "a sync that covers what was under way",
      LOST_OR_SEEN,
      BY_SWEEP,
      { .log_fault = LOG_FAULT_SYNC_ALL, .method = LOG_METHOD_FDATASYNC } },
    { "5", "no fsync of the directory after creating", LOST_OR_SEEN, BY_SWEEP, { .left_out = LEFT_OUT_SYNC_NAMES } },
    { "6",
      "a file renamed before its data is synced",
      BIT(CHECK_REFUSED),
      BY_SWEEP,
      { .left_out = LEFT_OUT_SYNC_SNAPSHOT, .snapshots = true } },
    { "7",
      "no epoch in the frame's checksum, with recycling",
      BIT(CHECK_REFUSED),
      BY_SWEEP,
      { .log_fault = LOG_FAULT_NO_EPOCH, .recover_fault = RECOVER_FAULT_NO_EPOCH, .snapshots = true, .large = true } },
    { "8", "the last block rewritten in place", LOST_OR_SEEN, BY_SWEEP, { .log_fault = LOG_FAULT_IN_PLACE } },
    { "9",
      "going on with what an earlier start has cut",
      BIT(CHECK_WRONG) | LOST_OR_SEEN,
      BY_SWEEP,
      { .recover_fault = RECOVER_FAULT_BACK_TO_LIFE } },
    { "10",
      "old segments gone before what replaces them is durable",
      BIT(CHECK_LOST) | BIT(CHECK_REFUSED),
      BY_SWEEP,
      { .left_out = LEFT_OUT_SYNC_MANIFEST, .snapshots = true, .large = true } },
    { "21", "a transaction's parts in different units", BIT(CHECK_HALVED), BY_SWEEP, { .log_fault = LOG_FAULT_HALF_TXN } },
    { "24", "a torn tail taken for damage", BIT(CHECK_REFUSED), BY_SWEEP, { .recover_fault = RECOVER_FAULT_TORN_IS_ROT } },
    { "24",
      "a segment that was being begun taken for damage",
      BIT(CHECK_REFUSED),
      BY_NAMES,
      { .recover_fault = RECOVER_FAULT_TORN_IS_ROT } },
    { "-",
      "a frame whose checksum is wrong accepted",
      BIT(CHECK_WRONG) | BIT(CHECK_REFUSED),
      BY_SWEEP,
      { .recover_fault = RECOVER_FAULT_TORN_FRAME } },
    { "-", "damage in the middle taken for a torn tail", BIT(CHECK_SILENT), BY_ROT, { .recover_fault = RECOVER_FAULT_NO_WITNESS } },
};

static enum crash_check find(const struct planted *p, uint64_t *states, uint64_t *seed)
{
    for (*seed = 0; *seed < SEEDS_MAX; ++*seed) {
        struct sweep_options o = p->options;
        struct sweep_result r;
        o.seed = *seed;
        o.most = STATES_MAX;
        o.only = SWEEP_ALL;
        if (p->by == BY_NAMES)
            names_run(&o, 4, &r);
        else if (p->by == BY_ROT)
            rot_run(&o, &r);
        else
            sweep_run(&o, &r);
        *states += r.states;
        if (r.check != CHECK_NONE)
            return r.check;
    }
    return CHECK_NONE;
}

void planted_run(uint64_t *passed, int *failed)
{
    printf("%-4s %-58s %-30s %s\n", "bug", "what", "caught by", "after");
    for (size_t i = 0; i < sizeof PLANTED / sizeof PLANTED[0]; i++) {
        const struct planted *p = &PLANTED[i];
        uint64_t states = 0, seed = 0;
        enum crash_check check = find(p, &states, &seed);
        bool good = (p->checks & BIT(check)) != 0;
        printf("%-4s %-58s %-30s %" PRIu64 " states, seed %" PRIu64 "\n", p->number, p->name,
               check == CHECK_NONE ? "NOTHING" : check_name(check), states, seed);
        if (good)
            ++*passed;
        else
            printf("FAIL planted %s: %s\n", p->number, p->name);
        *failed += !good;
    }
}
