// SPDX-License-Identifier: Apache-2.0
#include "persist/keeper.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "persist/keeper_inside.h"

void keeper_say(const struct keeper *k, enum log_level level, const char *format, ...)
{
    char text[RECOVER_TEXT_MAX + 64];
    va_list args;
    if (k->options.say == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    k->options.say(k->options.context, (int)level, text);
}

int keeper_new(struct keeper **out, struct disk *disk, const struct keeper_options *options)
{
    assert(options->workers > 0 && options->segments_ready >= 2 && options->segments_ready < KEEPER_GIVEN_MAX / 2);
    assert(is_power_of_two(options->shards) && options->shards <= SHARDS_MAX);
    struct keeper *k = calloc(1, sizeof *k);
    if (k == NULL)
        return -ENOMEM;
    k->disk = disk;
    k->options = *options;
    k->segments.making.fd = -1;
    keeper_scrub_init(k);
    k->block = disk_memory(KEEPER_PIECE);
    k->load.taken = calloc(options->workers, sizeof *k->load.taken);
    int failed = k->block == NULL || k->load.taken == NULL ? -ENOMEM : keeper_set_init(k);
    if (failed == 0)
        failed = recover_open(&k->recover, disk, &options->recover);
    if (failed != 0) {
        keeper_free(k);
        return failed;
    }
    *out = k;
    return 0;
}

struct keeper *keeper_free(struct keeper *k)
{
    if (k == NULL)
        return NULL;
    keeper_scrub_deinit(k);
    keeper_set_deinit(k);
    keeper_segments_deinit(k);
    keeper_load_deinit(k);
    recover_free(k->recover);
    disk_memory_free(k->block, KEEPER_PIECE);
    free(k);
    return NULL;
}

void keeper_attach(struct keeper *k, struct log *log)
{
    assert(k->options.log && k->log == NULL);
    keeper_hold(&k->set);
    k->log = log;
    keeper_let_go(&k->set);
}

// What the log says is durable goes into the manifest: should the log's own end be lost, it is missed.
static uint64_t witness_step(struct keeper *k, uint64_t now_ns)
{
    if (k->log == NULL || k->manifest.hidden_segment != 0)
        return UINT64_MAX;
    uint64_t durable = atomic_load_explicit(&log_stats(k->log)->durable_lsn, memory_order_acquire);
    uint64_t due = k->manifest_ns + KEEPER_WITNESS_NS;
    if (durable <= k->manifest.witness)
        return KEEPER_WITNESS_NS;
    if (now_ns < due)
        return due - now_ns;
    struct manifest next = k->manifest;
    next.witness = durable;
    next.first_segment = keeper_segments_first(k, next.set_count > 0 ? next.sets[0].lsn : 0);
    k->manifest_ns = now_ns;
    int failed = keeper_manifest_write(k, &next);
    if (failed != 0)
        keeper_say(k, LOG_WARNING, "%s could not be written: %s", manifest_name(k->manifest.generation + 1), strerror(-failed));
    return KEEPER_WITNESS_NS;
}

uint64_t keeper_step(struct keeper *k)
{
    uint64_t now_ns = k->disk->ops->now_ns(k->disk);
    uint64_t waits[] = {
        keeper_segments_step(k, now_ns),
        keeper_set_step(k),
        witness_step(k, now_ns),
        keeper_scrub_step(k, now_ns),
    };
    uint64_t least = KEEPER_RETRY_NS;
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++)
        least = waits[i] < least ? waits[i] : least;
    return least;
}

const struct keeper_stats *keeper_stats(const struct keeper *k)
{
    return &k->stats;
}

static void say_unwritten(const struct keeper *k)
{
    const struct log_stats *stats = log_stats(k->log);
    int error = atomic_load_explicit(&stats->error, memory_order_relaxed);
    unsigned long long bytes = atomic_load_explicit(&stats->pending_bytes, memory_order_relaxed);
    keeper_say(k, LOG_WARNING, "the log has ended, and %llu bytes of what was sent to it are not durable: %s", bytes,
               error != 0 ? strerror(-error) : "transactions that were never whole");
}

int keeper_end(struct keeper *k, bool clean)
{
    struct manifest next = k->manifest;
    (void)keeper_segments_step(k, k->disk->ops->now_ns(k->disk)); // takes back what the log has had
    if (clean)
        next.flags |= MANIFEST_CLEAN;
    else if (k->log != NULL)
        say_unwritten(k);
    if (k->log != NULL && next.hidden_segment == 0) {
        next.witness = atomic_load_explicit(&log_stats(k->log)->durable_lsn, memory_order_acquire);
        next.first_segment = keeper_segments_first(k, next.set_count > 0 ? next.sets[0].lsn : 0);
    }
    k->log = NULL;
    return keeper_manifest_write(k, &next);
}
