// SPDX-License-Identifier: Apache-2.0
// A log that comes and goes while the server runs.
//
//   keeper_log_begin   manifest: segments from here on are hidden -----> the first one is made
//   keeper_attach      the role writes; workers log from one cut on, which is the base's
//   (base counts)      ONE manifest: names the base, hides nothing, needs no older segment (keeper_snapshot.c)
//   keeper_log_end     the log counted: its end is what the directory holds. It did not: its files go, then nothing is hidden any more
//
// A crash before the base counts leaves hidden segments, which no start looks at and the next one removes; a crash behind it leaves a log
// with its base. Changes that were made while there was no log are in the base alone, so without it the log would be wrong: hence one
// manifest.
#include <string.h>

#include "persist/keeper_inside.h"

static int set_hidden(struct keeper *k, uint64_t segment)
{
    struct manifest next = k->manifest;
    next.hidden_segment = segment;
    return keeper_manifest_write(k, &next);
}

// False: they stay hidden, and the next start takes them away.
static bool remove_hidden(struct keeper *k)
{
    int failed = keeper_segments_remove(k, k->manifest.hidden_segment);
    if (failed == 0)
        failed = set_hidden(k, 0);
    if (failed != 0)
        keeper_say(k, LOG_WARNING, "what the log has left could not be removed: %s; the next start does it", strerror(-failed));
    return failed == 0;
}

int keeper_log_begin(struct keeper *k, struct log_origin *origin)
{
    assert(!k->options.log && k->log == NULL);
    int failed = 0;
    if (k->manifest.hidden_segment == 0) // else some are left that could not be removed
        failed = set_hidden(k, k->segments.next_id);
    if (failed != 0)
        return failed;
    k->options.log = true;
    failed = keeper_segments_make(k);
    if (failed == 0) {
        *origin = k->origin;
        return 0;
    }
    k->options.log = false;
    keeper_segments_put_away(k);
    (void)remove_hidden(k);
    return failed;
}

static void end_counted(struct keeper *k, const struct log_origin *end)
{
    struct manifest next = k->manifest;
    next.flags = 0;
    next.witness = atomic_load_explicit(&log_stats(k->log)->durable_lsn, memory_order_acquire);
    next.first_segment = keeper_segments_first(k, next.set_count > 0 ? next.sets[0].lsn : 0);
    keeper_hold(&k->set);
    k->origin = *end;
    k->log = NULL;
    keeper_let_go(&k->set);
    int failed = keeper_manifest_write(k, &next);
    if (failed != 0)
        keeper_say(k, LOG_WARNING, "%s could not be written: %s", manifest_name(k->manifest.generation + 1), strerror(-failed));
}

void keeper_log_end(struct keeper *k)
{
    struct log_origin end = k->origin;
    if (k->log != NULL)
        log_end(k->log, &end);
    (void)keeper_segments_step(k, k->disk->ops->now_ns(k->disk)); // takes back what the log has had
    keeper_segments_put_away(k);
    k->options.log = false;
    if (k->manifest.hidden_segment == 0) {
        end_counted(k, &end);
        return;
    }
    keeper_hold(&k->set);
    k->log = NULL;
    keeper_let_go(&k->set);
    (void)remove_hidden(k);
}
