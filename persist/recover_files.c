// SPDX-License-Identifier: Apache-2.0
// What lies in the directory, and what of it is the log: the *line* of segments, in the order of ids.
//
//   log-5  begun, previous 4            in the line
//   log-6  begun, previous 5            dead: log-8 goes on from log-5, so a start after a crash cut what is in it
//   log-7  made ahead                   not begun: nothing in it
//   log-8  begun, previous 5, LSN 90    in the line; what log-5 has behind LSN 90 was cut (its *bound*)
//   log-9  neither header valid         was being begun when the power went, or rotten: only its frames can tell
//
// A segment's header says which one it follows, so a file that is missing or another's is seen however the ids lie. Files below the
// manifest's first segment are not looked at: a start that was interrupted may have left them. Neither are those from its hidden one on:
// they are of a log that was being switched on, and lack what it began with.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

// ---- names

static void name_found(void *context, const char *name)
{
    struct recover *r = context;
    uint64_t set, id = segment_id_of(name);
    uint32_t file;
    if (snapshot_name_parse(name, &set, &file))
        r->snapshot_files++;
    if (id == 0)
        return;
    if (r->segment_count == r->segment_cap) {
        uint32_t cap = r->segment_cap == 0 ? 16 : r->segment_cap * 2;
        struct segment_file *grown = realloc(r->segments, cap * sizeof *grown);
        if (grown == NULL) {
            r->names_error = -ENOMEM;
            return;
        }
        r->segments = grown;
        r->segment_cap = cap;
    }
    r->segments[r->segment_count++] = (struct segment_file){ .id = id };
}

static int by_id(const void *a, const void *b)
{
    const struct segment_file *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

uint32_t recover_find(const struct recover *r, uint64_t id)
{
    struct segment_file key = { .id = id };
    const struct segment_file *found = bsearch(&key, r->segments, r->segment_count, sizeof *r->segments, by_id);
    return found == NULL ? r->segment_count : (uint32_t)(found - r->segments);
}

// ---- manifest

int recover_block(struct recover *r, int fd, uint64_t offset, uint8_t *block)
{
    int rc = r->disk->ops->read(r->disk, fd, r->block, BLOCK_SIZE, offset);
    if (rc == 0)
        memcpy(block, r->block, BLOCK_SIZE);
    return rc;
}

// 0: there is such a file, and if it can be read it is in `block`, else that is zeros; -ENOENT.
static int manifest_copy(struct recover *r, const char *name, uint8_t *block)
{
    uint64_t size;
    memset(block, 0, BLOCK_SIZE);
    int fd = r->disk->ops->open(r->disk, name, recover_open_flags(r->disk), &size);
    if (fd == -ENOENT)
        return fd;
    if (fd < 0) {
        recover_warn(r, "%s cannot be opened (error %d)", name, -fd);
        return 0;
    }
    // What counts now must still be there when the other copy is written over.
    int rc = r->disk->ops->sync(r->disk, fd);
    if (rc != 0 && !r->options.salvage && r->phase != PHASE_END)
        recover_conclude(r, RECOVER_IO, "R5", "%s cannot be synced (error %d). Look at the disk, then start again", name, -rc);
    if (recover_block(r, fd, 0, block) != 0)
        recover_warn(r, "%s cannot be read", name);
    r->disk->ops->close(r->disk, fd);
    return 0;
}

static void without_manifest(struct recover *r, int rc, const char *why)
{
    if (r->segment_count == 0 && r->snapshot_files == 0) {
        if (rc != 1)
            recover_warn(r, "no manifest is valid (%s), and nothing else is there: taken for a directory whose first start did not finish",
                         why);
        r->shards = r->options.shards;
        recover_conclude(r, RECOVER_EMPTY, "", "%s", "");
        return;
    }
    if (r->options.salvage) {
        recover_warn(r, "no manifest: which snapshots are whole and where the log begins is taken from the files alone");
        return;
    }
    recover_place(r, manifest_name(0), 0);
    recover_conclude(r, RECOVER_ROT, "R3",
                     "%s and %s: %s, but %" PRIu32 " files of a log and %" PRIu32 " of snapshots are there. Put the manifest back from a "
                     "backup, or write what can be saved to another directory: skerry-admin salvage",
                     manifest_name(0), manifest_name(1), rc == 1 ? "neither is there" : why, r->segment_count, r->snapshot_files);
}

static void read_manifest(struct recover *r)
{
    uint8_t blocks[2][BLOCK_SIZE];
    const uint8_t *copies[2];
    const char *why;
    for (uint64_t i = 0; i < 2; i++)
        copies[i] = manifest_copy(r, manifest_name(i), blocks[i]) == 0 ? blocks[i] : NULL;
    if (r->phase == PHASE_END)
        return;
    int rc = manifest_pick(&r->manifest, copies[0], copies[1], &why);
    if (rc != 0) {
        r->manifest = (struct manifest){ .generation = 0 };
        without_manifest(r, rc, why);
        return;
    }
    if (why != NULL)
        recover_warn(r, "one manifest is not valid (%s): the other one counts, generation %" PRIu64, why, r->manifest.generation);
    r->has_manifest = true;
    r->store = r->manifest.store;
    r->history = r->manifest.history;
    r->shards = r->manifest.shards;
    if (r->options.shards == 0 || r->options.shards == r->shards || r->options.salvage)
        return;
    recover_place(r, manifest_name(r->manifest.generation), 0);
    recover_conclude(r, RECOVER_FOREIGN, "R8",
                     "%s: the directory was made with %" PRIu32 " shards, and %" PRIu32
                     " are configured. Start with the number that it was made with",
                     manifest_name(r->manifest.generation), r->shards, r->options.shards);
}

// ---- headers

static enum segment_state state_of(const struct segment_file *s, const struct segment_header *h)
{
    return h->id != s->id ? SEGMENT_OTHER : h->first_lsn == 0 ? SEGMENT_AHEAD : SEGMENT_BEGUN;
}

// Both headers are valid. They say the same, or one of them is older: begun counts over made ahead, and that over another segment's.
static void take_second(struct recover *r, struct segment_file *s, const struct segment_header *h)
{
    enum segment_state state = state_of(s, h);
    uint8_t one[BLOCK_SIZE], other[BLOCK_SIZE];
    segment_encode(&s->header, one);
    segment_encode(h, other);
    if (memcmp(one, other, BLOCK_SIZE) == 0)
        return;
    if (state == SEGMENT_BEGUN && s->state == SEGMENT_BEGUN) {
        s->state = SEGMENT_BAD;
        s->why = "its headers contradict each other";
        return;
    }
    recover_warn(r, "%s: one header is older than the other one", segment_text(s->id).text);
    if (state >= s->state)
        return;
    s->state = state;
    s->header = *h;
}

// Offsets where the second header may lie: where the first one says so; else where the file or the manifest's segments end.
static uint32_t second_places(const struct recover *r, const struct segment_file *s, bool first_valid, uint64_t *places)
{
    uint32_t count = 0;
    uint64_t sizes[2] = { s->size / BLOCK_SIZE * BLOCK_SIZE, r->manifest.segment_size };
    if (first_valid) {
        places[0] = s->header.size - BLOCK_SIZE;
        return 1;
    }
    for (int i = 0; i < 2; i++)
        if (sizes[i] >= 2 * BLOCK_SIZE && (i == 0 || sizes[1] != sizes[0]))
            places[count++] = sizes[i] - BLOCK_SIZE;
    return count;
}

// Reads a header that belongs to a segment of this size (0: any): true: it is valid, and *h.
static bool header_at(struct recover *r, struct segment_file *s, int fd, uint64_t offset, uint64_t size, struct segment_header *h,
                      const char **why)
{
    uint8_t block[BLOCK_SIZE];
    int rc = recover_block(r, fd, offset, block);
    *why = "it cannot be read";
    s->unreadable |= rc != 0 && rc != -ENODATA; // that is a file which ends before
    if (rc != 0 || segment_decode(h, block, why) != 0)
        return false;
    *why = "it says another size";
    return size == 0 || h->size == size;
}

static void read_headers(struct recover *r, struct segment_file *s, int fd)
{
    struct segment_header h;
    uint64_t places[2];
    const char *why = s->why;
    bool first = header_at(r, s, fd, 0, 0, &s->header, &s->why), second = false;
    if (first)
        s->state = state_of(s, &s->header);
    uint32_t count = second_places(r, s, first, places);
    for (uint32_t i = 0; i < count && !second; i++)
        second = header_at(r, s, fd, places[i], places[i] + BLOCK_SIZE, &h, &why);
    if (first && second) {
        take_second(r, s, &h);
        return;
    }
    if (second) {
        s->state = state_of(s, &h);
        s->header = h;
    }
    if (first || second)
        recover_warn(r, "R6: %s: one of its two headers is bad (%s); the other one counts", segment_text(s->id).text, first ? why : s->why);
}

static bool foreign(struct recover *r, uint32_t i)
{
    const struct segment_file *s = &r->segments[i];
    const char *what = NULL;
    if (s->state == SEGMENT_BAD)
        return false;
    if (!uuid_equal(&s->header.store, &r->store))
        what = "belongs to another store";
    else if (s->state == SEGMENT_BEGUN && !uuid_equal(&s->header.history, &r->history))
        what = "belongs to another history";
    else if (s->header.shards != r->shards)
        what = "was written with another number of shards";
    else if (s->state == SEGMENT_OTHER && s->header.id >= r->manifest.first_segment) // one that was made new had an id below that
        what = "is the copy of another segment";
    if (what == NULL)
        return false;
    recover_place_segment(r, i, 0);
    if (r->options.salvage) {
        recover_warn(r, "%s %s: it is left out", r->report.file, what);
        return true;
    }
    recover_conclude(r, RECOVER_FOREIGN, "R8", "%s %s. Take it out of the directory if it was put there by mistake", r->report.file, what);
    return true;
}

// 0; 1: refused.
static int open_refused(struct recover *r, uint32_t i, int error)
{
    recover_place_segment(r, i, 0);
    if (r->options.salvage) {
        recover_warn(r, "%s cannot be opened (error %d): it is left out", r->report.file, -error);
        r->segments[i].state = SEGMENT_BAD;
        r->segments[i].dead = true;
        r->lost = true;
        return 0;
    }
    if (error == -EINVAL || error == -ELOOP)
        recover_conclude(r, RECOVER_FOREIGN, "R8", "%s is not a regular file. Take it out of the directory", r->report.file);
    else
        recover_conclude(r, RECOVER_IO, "R5", "%s cannot be opened or synced (error %d). Look at the disk, then start again",
                         r->report.file, -error);
    return 1;
}

// Everything durable or gone before it is read: what the page cache or the device still holds back must not change the verdict later.
static int look_at_segment(struct recover *r, uint32_t i)
{
    struct segment_file *s = &r->segments[i];
    s->state = SEGMENT_BAD;
    int fd = r->disk->ops->open(r->disk, segment_text(s->id).text, recover_open_flags(r->disk), &s->size);
    if (fd < 0)
        return open_refused(r, i, fd);
    int rc = r->disk->ops->sync(r->disk, fd);
    if (rc == 0)
        read_headers(r, s, fd);
    r->disk->ops->close(r->disk, fd);
    return rc == 0 ? 0 : open_refused(r, i, rc);
}

int recover_enter(struct recover *r, uint32_t segment)
{
    uint64_t size;
    if (r->on == segment)
        return 0;
    int fd = r->disk->ops->open(r->disk, segment_text(r->segments[segment].id).text, recover_open_flags(r->disk), &size);
    if (fd < 0)
        return fd;
    window_open(&r->window, fd, size);
    r->on = segment;
    return 0;
}

// ---- the line

// Later segments say where the log went on: what they pass over is dead, and what they follow ends there.
static void find_line(struct recover *r)
{
    uint64_t passed = UINT64_MAX; // ids above this one and below the segment are passed over
    for (uint32_t i = r->segment_count; i-- > 0;) {
        struct segment_file *s = &r->segments[i];
        if (s->id > passed)
            s->dead = true;
        if (s->dead || s->state != SEGMENT_BEGUN)
            continue;
        passed = s->header.previous_id;
        uint32_t previous = recover_find(r, s->header.previous_id);
        if (previous >= i)
            continue;
        r->segments[previous].has_bound = true;
        r->segments[previous].bound = s->header.previous_lsn;
        r->segments[previous].bound_crc = s->header.previous_crc;
    }
}

// What no header that we write says.
static bool contradicts(struct recover *r, uint32_t i)
{
    const struct segment_file *s = &r->segments[i];
    if (s->dead || s->state != SEGMENT_BEGUN)
        return false;
    bool wrong = s->header.previous_id >= s->id || (s->header.previous_id != 0 && s->header.first_lsn != s->header.previous_lsn + 1) ||
                 (s->has_bound && s->bound < s->header.first_lsn - 1);
    if (!wrong)
        return false;
    recover_place_segment(r, i, 0);
    if (r->options.salvage) {
        recover_warn(r, "%s: its header, or the next one's, says what cannot be", r->report.file);
        r->segments[i].has_bound = false;
        return false;
    }
    recover_conclude(
        r, RECOVER_BROKEN, "R9",
        "%s: its header, or that of the segment behind it, is whole and says what cannot be. This is a bug of ours, or somebody "
        "changed the file knowing how: keep a copy of the directory, report it, and use skerry-admin salvage",
        r->report.file);
    return true;
}

static void drop_unneeded(struct recover *r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->segment_count; i++)
        if (r->segments[i].id >= r->manifest.first_segment && !manifest_hides(&r->manifest, r->segments[i].id))
            r->segments[kept++] = r->segments[i];
    r->segment_count = kept;
}

// Salvage without a manifest: whose log it is, the newest segment says.
static void identity_of_segments(struct recover *r)
{
    for (uint32_t i = r->segment_count; i-- > 0 && r->shards == 0;) {
        if (r->segments[i].state == SEGMENT_BAD)
            continue;
        r->store = r->segments[i].header.store;
        r->history = r->segments[i].header.history;
        r->shards = r->segments[i].header.shards;
    }
    if (r->shards == 0)
        recover_conclude(r, RECOVER_ROT, "R7",
                         "there is no manifest, and no segment has a valid header: nothing says whose files these are");
}

int recover_files(struct recover *r)
{
    int rc = r->disk->ops->list(r->disk, name_found, r);
    if (rc == 0)
        rc = r->names_error;
    if (rc != 0)
        return rc;
    if (r->segment_count > 0)
        qsort(r->segments, r->segment_count, sizeof *r->segments, by_id);
    rc = r->disk->ops->sync_names(r->disk);
    if (rc != 0) {
        recover_conclude(r, RECOVER_IO, "R5", "the directory cannot be synced (error %d). Look at the disk, then start again", -rc);
        return 0;
    }
    read_manifest(r);
    if (r->has_manifest)
        drop_unneeded(r);
    for (uint32_t i = 0; i < r->segment_count && r->phase != PHASE_END; i++)
        if (look_at_segment(r, i) != 0)
            return 0;
    if (r->phase != PHASE_END && !r->has_manifest)
        identity_of_segments(r);
    for (uint32_t i = 0; i < r->segment_count && r->phase != PHASE_END; i++)
        if (foreign(r, i))
            r->segments[i].dead = true;
    find_line(r);
    for (uint32_t i = 0; i < r->segment_count && r->phase != PHASE_END; i++)
        if (contradicts(r, i))
            return 0;
    for (uint32_t i = 0; i < r->segment_count; i++)
        r->bytes_total += r->segments[i].state == SEGMENT_BEGUN && !r->segments[i].dead ? r->segments[i].size : 0;
    return 0;
}
