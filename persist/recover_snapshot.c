// SPDX-License-Identifier: Apache-2.0
// The newest snapshot set of which every file has a valid header and trailer, and whose watermarks cover every shard once; the log must
// reach back to it. Entries go out as their chunks verify, so damage further inside shows when some of them are out already: then the
// next older set is tried, and RECOVER_RESTART says that it begins anew.
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

struct snapshot_text {
    char text[SNAPSHOT_NAME_MAX];
};
static struct snapshot_text snapshot_text(const struct recover *r, uint32_t file)
{
    struct snapshot_text name;
    snapshot_name(r->manifest.sets[r->set].id, file, name.text);
    return name;
}

// Objection to a file's header and trailer, or NULL. Its watermarks are noted; `seen`: a bit for each shard that had one.
static const char *take_totals(struct recover *r, const struct snapshot_totals *t, uint64_t *seen, uint64_t *entries)
{
    const struct snapshot_set *set = &r->manifest.sets[r->set];
    if (t->id.files != set->files || !uuid_equal(&t->id.history, &r->history))
        return "it belongs to another set, or another history";
    if (t->id.shards != r->shards)
        return "it was written with another number of shards";
    for (uint32_t i = 0; i < t->watermark_count; i++) {
        uint32_t shard = t->watermarks[i].shard; // the reader has seen that there is such a one
        uint64_t bit = UINT64_C(1) << shard % 64;
        if ((seen[shard / 64] & bit) != 0)
            return "its watermarks contradict another file's";
        seen[shard / 64] |= bit;
        r->marks[shard] = t->watermarks[i].sequence;
    }
    *entries += t->entries;
    return NULL;
}

// 0: its trailer is noted; 1: it does not hold, *why; -ENOMEM.
static int look_at_file(struct recover *r, uint32_t file, uint64_t *seen, uint64_t *entries, const char **why)
{
    struct snapshot_reader *reader;
    struct snapshot_totals totals;
    int rc = snapshot_reader_open(&reader, r->disk, r->manifest.sets[r->set].id, file, &r->store, why);
    if (rc == -ENOENT)
        *why = "it is not there";
    else if (rc != -EBADMSG)
        *why = "it cannot be read";
    if (rc != 0)
        return rc == -ENOMEM ? rc : 1;
    snapshot_reader_totals(reader, &totals);
    *why = take_totals(r, &totals, seen, entries);
    snapshot_reader_free(reader);
    return *why == NULL ? 0 : 1;
}

// 0: the set holds as far as its ends say; 1: it does not; -ENOMEM.
static int look_at_set(struct recover *r)
{
    const struct snapshot_set *set = &r->manifest.sets[r->set];
    uint64_t seen[SHARDS_MAX / 64] = { 0 }, entries = 0, shards = 0;
    const char *why = NULL;
    uint32_t file = 0;
    int rc = 0;
    for (; file < set->files && rc == 0; file++)
        rc = look_at_file(r, file, seen, &entries, &why);
    for (uint32_t i = 0; i < SHARDS_MAX / 64; i++)
        shards += (uint64_t)__builtin_popcountll(seen[i]);
    if (rc == 0 && (shards != r->shards || entries != set->entries)) {
        why = shards != r->shards ? "not every shard has a watermark in it" : "it holds another number of entries than the manifest says";
        rc = 1;
    }
    if (rc == 1) {
        recover_place(r, snapshot_text(r, file - 1).text, 0);
        recover_warn(r, "%s: %s", r->report.file, why);
    }
    return rc;
}

// A segment before the oldest one that was begun may have been being begun when the power went: then nothing was recycled.
static bool log_reaches(const struct recover *r, uint64_t lsn)
{
    uint64_t missing;
    bool any = false;
    for (uint32_t i = 0; i < r->segment_count; i++) {
        const struct segment_file *s = &r->segments[i];
        if (s->dead || s->state != SEGMENT_BEGUN)
            continue;
        if (s->header.first_lsn <= lsn + 1)
            return true;
        any = true;
    }
    return !any || recover_gap(r, &missing) != HOLE_MISSING;
}

static void use_set(struct recover *r)
{
    r->base = r->manifest.sets[r->set].lsn;
    r->set_file = 0;
    r->set_entries = 0;
}

// No set holds. The log may go back to the first record ever; but not behind what was there before it: a set with entries that holds
// nothing of the log is what it began with.
static int use_none(struct recover *r)
{
    r->set = r->manifest.set_count;
    r->base = 0;
    memset(r->marks, 0, r->shards * sizeof *r->marks);
    if (r->manifest.set_count == 0 || r->options.salvage)
        return 0;
    bool whole_log = false, based = false;
    for (uint32_t i = 0; i < r->manifest.set_count; i++)
        based |= r->manifest.sets[i].lsn == 0 && r->manifest.sets[i].entries > 0;
    for (uint32_t i = 0; i < r->segment_count && !based; i++)
        whole_log |= !r->segments[i].dead && r->segments[i].state == SEGMENT_BEGUN && r->segments[i].header.first_lsn == 1;
    if (whole_log) {
        recover_warn(r, "no snapshot is valid; the log goes back to the beginning, so nothing is missing");
        return 0;
    }
    recover_conclude(
        r, RECOVER_SNAPSHOT, "R3",
        "%s: no snapshot is valid, and the log does not go back far enough to do without. Restore a backup or take a replica's "
        "data, or write what can be saved to another directory: skerry-admin salvage",
        r->report.file);
    return 0;
}

static int choose_from(struct recover *r, uint32_t first)
{
    for (r->set = first; r->set < r->manifest.set_count; r->set++) {
        if (!log_reaches(r, r->manifest.sets[r->set].lsn) && !r->options.salvage) {
            recover_place(r, snapshot_text(r, 0).text, 0);
            recover_warn(r, "%s: the log behind it begins too late, files are missing", r->report.file);
            continue;
        }
        int rc = look_at_set(r);
        if (rc < 0)
            return rc;
        if (rc > 0)
            continue;
        use_set(r);
        return 0;
    }
    return use_none(r);
}

int recover_snapshot_choose(struct recover *r)
{
    for (uint32_t i = 0; i < r->manifest.set_count; i++)
        r->bytes_total += i == 0 ? r->manifest.sets[i].bytes : 0;
    return choose_from(r, 0);
}

// This set does not hold after all. 0 or -ENOMEM.
static int give_up_set(struct recover *r, const char *why)
{
    recover_place(r, snapshot_text(r, r->set_file).text, 0);
    recover_warn(r, "%s: %s", r->report.file, why);
    r->reader = snapshot_reader_free(r->reader);
    if (r->options.salvage) {
        recover_warn(r, "lost: what %s holds from there on", r->report.file);
        r->lost = true;
        r->set_file++;
        return 0;
    }
    r->restarting = r->handed_out;
    r->report.entries -= r->set_entries;
    return choose_from(r, r->set + 1);
}

static void file_ends(struct recover *r)
{
    struct snapshot_totals totals;
    snapshot_reader_totals(r->reader, &totals);
    r->set_entries += totals.entries;
    r->report.entries += totals.entries;
    r->reader = snapshot_reader_free(r->reader);
    r->set_file++;
}

int recover_snapshot_next(struct recover *r, struct recover_item *item)
{
    while (r->phase == PHASE_SNAPSHOT) {
        const char *why = "";
        struct slice run;
        if (r->restarting) {
            r->restarting = r->handed_out = false;
            *item = (struct recover_item){ .piece = RECOVER_RESTART, .watermarks = r->marks };
            return 0;
        }
        if (r->set == r->manifest.set_count || r->set_file == r->manifest.sets[r->set].files)
            return 1;
        int rc =
            r->reader != NULL ? 0 : snapshot_reader_open(&r->reader, r->disk, r->manifest.sets[r->set].id, r->set_file, &r->store, &why);
        if (rc == 0)
            rc = snapshot_reader_next(r->reader, &run, &why);
        if (rc == -ENOMEM)
            return rc;
        if (rc < 0 && rc != -EBADMSG)
            why = "it cannot be read";
        if (rc == 0) {
            r->handed_out = true;
            r->snapshot_read += run.len;
            *item = (struct recover_item){ .piece = RECOVER_ENTRY_RUN, .bytes = run, .watermarks = r->marks };
            return 0;
        }
        if (rc == 1) {
            file_ends(r);
            continue;
        }
        rc = give_up_set(r, why);
        if (rc != 0)
            return rc;
    }
    return 1;
}
