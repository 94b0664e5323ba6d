// SPDX-License-Identifier: Apache-2.0
// The line's frames, one after the other: each must verify in its place, follow the one before it, and hold records that follow theirs.
// A unit goes out as soon as its last frame is there; of a lone frame it is a view, a chain is gathered.
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

enum { CHAIN_FLAGS = FRAME_FIRST | FRAME_MIDDLE | FRAME_LAST };

// ---- one frame

uint64_t recover_limit(const struct recover *r, uint32_t segment)
{
    const struct segment_file *s = &r->segments[segment];
    uint64_t size = s->size / BLOCK_SIZE * BLOCK_SIZE;
    if (s->state == SEGMENT_BEGUN && s->header.size < size)
        size = s->header.size;
    bool whole = s->state == SEGMENT_BEGUN ? size == s->header.size : size >= 2 * BLOCK_SIZE;
    return whole ? size - BLOCK_SIZE : size; // the last block is the second header
}

enum hole recover_frame(struct recover *r, uint32_t segment, uint64_t offset, struct frame_head *h, const uint8_t **frame)
{
    const struct segment_file *s = &r->segments[segment];
    bool unreadable;
    if (offset >= recover_limit(r, segment))
        return HOLE_NOTHING;
    const uint8_t *block = window_view(&r->window, offset, BLOCK_SIZE, &unreadable);
    if (block == NULL)
        return HOLE_NOTHING;
    if (unreadable)
        return HOLE_UNREADABLE;
    // Without a header only the frame itself says of which life it is; its CRC is continued from that, so it must say the truth.
    uint64_t epoch = s->state == SEGMENT_BEGUN ? s->header.epoch : load_u64(block + 40);
    bool any_life = r->options.fault == RECOVER_FAULT_NO_EPOCH;
    if (any_life)
        epoch = 0;
    if (frame_peek(h, block, epoch) != 0)
        return HOLE_NOTHING;
    uint64_t len = (uint64_t)h->blocks * BLOCK_SIZE;
    if (len > recover_limit(r, segment) - offset)
        return HOLE_TORN;
    block = window_view(&r->window, offset, (size_t)len, &unreadable);
    if (block == NULL)
        return HOLE_TORN;
    if (unreadable)
        return HOLE_UNREADABLE;
    struct frame_place place = { .store = &r->store, .segment = any_life ? 0 : s->id, .epoch = epoch, .offset = offset };
    if (frame_verify(h, &place, block) != 0 && r->options.fault != RECOVER_FAULT_TORN_FRAME)
        return HOLE_TORN;
    *frame = block;
    return HOLE_NONE;
}

// ---- a unit's records

// What is wrong with a sub-batch, or NULL.
static const char *check_records(const struct sub_batch *b)
{
    const uint8_t *at = b->records;
    uint32_t taken = 0;
    struct record record;
    int rc;
    while ((rc = record_next(&record, b, &at, &taken)) == 0)
        continue;
    return rc == 1 ? NULL : "a record does not parse";
}

// A shard's sequences have no gap, from the snapshot's watermark on.
static bool check_sequences(struct recover *r, const struct sub_batch *b)
{
    uint64_t *next = &r->next[b->shard];
    bool follows = *next == 0 ? b->first <= r->marks[b->shard] + 1 : b->first == *next;
    if (!follows && !r->options.salvage)
        return false;
    uint64_t wanted = *next == 0 ? r->marks[b->shard] + 1 : *next;
    if (!follows && b->first > wanted)
        recover_warn(r, "lost: shard %u, sequences %" PRIu64 " to %" PRIu64, (unsigned)b->shard, wanted, b->first - 1);
    *next = b->first + b->count;
    return follows || b->first > wanted;
}

static const char *check_unit(struct recover *r, struct slice unit)
{
    const uint8_t *at = unit.data;
    uint64_t left = unit.len;
    uint32_t batches = 0;
    struct sub_batch b;
    int rc;
    while ((rc = sub_batch_next(&b, &at, &left)) == 0) {
        if (b.shard >= r->shards)
            return "a record belongs to a shard that there is not";
        const char *wrong = check_records(&b);
        if (wrong != NULL)
            return wrong;
        if (!check_sequences(r, &b))
            return "the sequences of a shard have a gap";
        r->report.records += b.count;
        batches++;
    }
    if (rc != 1)
        return "a batch does not parse";
    return batches == r->batches ? NULL : "the number of batches is another one than its frames say";
}

static void broken(struct recover *r, const char *rule, const char *what, const struct frame_head *h)
{
    recover_place_segment(r, r->at, r->offset);
    recover_conclude(r, RECOVER_BROKEN, rule,
                     "%s at %" PRIu64 ": the frame of LSN %" PRIu64
                     " is whole, but %s. This is a bug of ours, or somebody changed the file "
                     "knowing how: keep a copy of the directory, report it, and start with skerry-admin salvage",
                     r->report.file, r->offset, h->lsn, what);
}

// Salvage drops what it cannot understand, and says so.
static void objection(struct recover *r, const char *rule, const char *what, const struct frame_head *h)
{
    if (!r->options.salvage) {
        broken(r, rule, what, h);
        return;
    }
    recover_place_segment(r, r->at, r->offset);
    recover_warn(r, "lost: LSN %" PRIu64 " to %" PRIu64 ", %s at %" PRIu64 ": %s", r->in_chain ? r->chain_first : h->lsn, h->lsn,
                 r->report.file, r->offset, what);
    r->lost = true;
}

// ---- a good frame

// What a frame that verifies may not be, or NULL.
static const char *misplaced(const struct recover *r, const struct frame_head *h)
{
    if (h->lsn != r->lsn + 1)
        return "another LSN should be there";
    if (r->crc_known && h->previous_crc != r->crc)
        return "it follows another frame than the one before it";
    uint32_t place = h->flags & CHAIN_FLAGS;
    bool goes_on = (place & (FRAME_MIDDLE | FRAME_LAST)) != 0;
    bool inside = r->in_chain || r->skip_chain || (r->first_frame && h->lsn <= r->base);
    if (goes_on ? !inside : r->in_chain || r->skip_chain)
        return "the chain that it belongs to is not whole";
    if (goes_on && !r->in_chain && h->lsn > r->base && !r->options.salvage)
        return "the beginning of its chain is missing";
    return NULL;
}

static void passed(struct recover *r, const struct frame_head *h)
{
    r->lsn = h->lsn;
    r->crc = h->crc;
    r->crc_known = true;
    r->flags = h->flags;
    r->stopped = (h->flags & FRAME_CLEAN_STOP) != 0;
    r->offset += (uint64_t)h->blocks * BLOCK_SIZE;
    r->report.frames++;
    r->report.bytes += (uint64_t)h->blocks * BLOCK_SIZE;
}

static void unit_ends(struct recover *r)
{
    r->in_chain = false;
    r->batches = 0;
    r->unit_lsn = r->report.lsn = r->lsn;
    r->unit_crc = r->crc;
    r->unit_segment = r->segments[r->at].id;
}

// The unit that ends with this frame: its bytes, or none of them: a chain's rest is missing, or there is nothing in it.
// 0 or -ENOMEM; 1: refused.
static int gather(struct recover *r, const struct frame_head *h, const uint8_t *frame, struct slice *unit)
{
    struct slice payload = slice_of(frame + FRAME_HEAD, h->payload);
    *unit = slice_of(NULL, 0);
    if (r->skip_chain) {
        r->skip_chain = (h->flags & FRAME_LAST) == 0;
        return 0;
    }
    r->batches = (r->in_chain ? r->batches : 0) + h->batches;
    if ((h->flags & CHAIN_FLAGS) == 0) {
        *unit = payload;
        return 0;
    }
    if (h->flags & FRAME_FIRST) {
        r->chain.len = 0;
        r->chain_first = h->lsn;
        r->in_chain = true;
    }
    if (payload.len > UNIT_MAX - r->chain.len) {
        broken(r, "R9", "its chain is longer than any may be", h);
        return 1;
    }
    buf_append_slice(&r->chain, payload);
    if (r->chain.failed)
        return -ENOMEM;
    if (h->flags & FRAME_LAST)
        *unit = buf_view(&r->chain);
    return 0;
}

// Salvage goes on with a frame that does not follow, if it is one that was not there before.
static bool resume_with(struct recover *r, const struct frame_head *h, const char *wrong)
{
    objection(r, "R9", wrong, h);
    if (h->lsn > r->lsn) {
        recover_resume(r, h);
        return true;
    }
    r->offset += (uint64_t)h->blocks * BLOCK_SIZE;
    return false;
}

// May this frame come here? Else it is refused, or skipped by salvage.
static bool frame_fits(struct recover *r, const struct frame_head *h)
{
    const char *wrong = misplaced(r, h);
    if (wrong != NULL && r->options.salvage)
        return resume_with(r, h, wrong);
    if (wrong != NULL)
        broken(r, "R9", wrong, h);
    else if (r->stopped)
        objection(r, "R10", "something follows a clean stop", h);
    return r->phase != PHASE_END;
}

// 0: *item; 1: nothing to hand out; -ENOMEM.
static int take_frame(struct recover *r, const struct frame_head *h, const uint8_t *frame, struct recover_item *item)
{
    struct slice unit;
    if (!frame_fits(r, h))
        return 1;
    r->skip_chain |= !r->in_chain && (h->flags & (FRAME_MIDDLE | FRAME_LAST)) != 0;
    r->first_frame = false;
    bool skipped = r->skip_chain;
    int rc = gather(r, h, frame, &unit);
    if (rc != 0)
        return rc;
    if (r->in_chain && (h->flags & FRAME_LAST) == 0) {
        passed(r, h);
        return 1;
    }
    bool wanted = !skipped && h->lsn > r->base;
    const char *wrong = wanted ? check_unit(r, unit) : NULL;
    if (wrong != NULL)
        objection(r, "R9", wrong, h);
    if (r->phase == PHASE_END)
        return 1;
    if (h->flags & FRAME_SEAL)
        r->sealed = h->lsn;
    passed(r, h);
    unit_ends(r);
    if (wrong != NULL || unit.len == 0 || !wanted)
        return 1;
    r->report.units++;
    *item = (struct recover_item){ .piece = RECOVER_UNIT, .bytes = unit, .lsn = h->lsn, .watermarks = r->marks };
    return 0;
}

// A frame that does not follow the last one: what is between is lost, and a chain that began there.
void recover_resume(struct recover *r, const struct frame_head *h)
{
    uint32_t place = h->flags & CHAIN_FLAGS;
    r->lsn = h->lsn - 1;
    r->crc_known = false;
    r->in_chain = r->stopped = false;
    r->skip_chain = (place & (FRAME_MIDDLE | FRAME_LAST)) != 0;
}

// ---- along the line

// The segment that goes on behind this one's bound; segment_count: none.
static uint32_t follower(const struct recover *r, uint32_t segment)
{
    for (uint32_t i = segment + 1; i < r->segment_count; i++)
        if (!r->segments[i].dead && r->segments[i].state == SEGMENT_BEGUN)
            return r->segments[i].header.previous_id == r->segments[segment].id ? i : r->segment_count;
    return r->segment_count;
}

static void go_to(struct recover *r, uint32_t segment)
{
    r->at = segment;
    r->offset = BLOCK_SIZE;
    int rc = recover_enter(r, segment);
    if (rc == 0)
        return;
    recover_place_segment(r, segment, 0);
    recover_conclude(r, RECOVER_IO, "R5", "%s cannot be opened (error %d). Look at the disk, then start again", r->report.file, -rc);
}

static void follow(struct recover *r, uint32_t next)
{
    const struct segment_file *s = &r->segments[next];
    recover_place_segment(r, next, 0);
    bool other = s->header.previous_crc != r->crc;
    if (other && r->options.salvage)
        recover_warn(r, "%s follows another frame of LSN %" PRIu64 " than is there", r->report.file, r->lsn);
    if (other && !r->options.salvage) {
        recover_conclude(r, RECOVER_FOREIGN, "R8",
                         "%s follows another frame of LSN %" PRIu64
                         " than %s has: one of the two files is from another time. Put the right "
                         "one back from a backup, or: skerry-admin salvage",
                         r->report.file, r->lsn, segment_text(r->segments[r->at].id).text);
        return;
    }
    r->stopped = false; // a clean stop ends a life of the process, and this is the next one
    go_to(r, next);
}

// Nothing follows by name: is there a later segment that says it follows one that is not there, or cannot be what it follows?
enum hole recover_gap(const struct recover *r, uint64_t *missing)
{
    bool nowhere = r->at == r->segment_count;
    for (uint32_t i = nowhere ? 0 : r->at + 1; i < r->segment_count; i++) {
        const struct segment_file *s = &r->segments[i];
        if (s->dead || s->state != SEGMENT_BEGUN || (!nowhere && s->header.previous_id == r->segments[r->at].id))
            continue;
        *missing = s->header.previous_id;
        uint32_t previous = recover_find(r, *missing);
        if (previous == r->segment_count)
            return HOLE_MISSING;
        return r->segments[previous].state == SEGMENT_BAD ? HOLE_HEADERS : HOLE_AHEAD;
    }
    return HOLE_NONE;
}

int recover_log_next(struct recover *r, struct recover_item *item)
{
    struct frame_head h;
    const uint8_t *frame;
    while (r->phase == PHASE_LOG) {
        uint64_t missing = 0;
        if (r->at == r->segment_count) {
            enum hole gap = recover_gap(r, &missing);
            recover_hole(r, gap != HOLE_NONE ? gap : HOLE_NOTHING, missing);
            continue;
        }
        const struct segment_file *s = &r->segments[r->at];
        uint32_t next = follower(r, r->at);
        bool bound = next < r->segment_count && s->has_bound && r->lsn == s->bound;
        if (bound && r->options.fault == RECOVER_FAULT_BACK_TO_LIFE)
            bound = recover_frame(r, r->at, r->offset, &h, &frame) != HOLE_NONE;
        if (bound) {
            follow(r, next);
            continue;
        }
        enum hole hole = recover_frame(r, r->at, r->offset, &h, &frame);
        if (hole != HOLE_NONE) {
            enum hole gap = hole == HOLE_NOTHING ? recover_gap(r, &missing) : HOLE_NONE;
            recover_hole(r, gap != HOLE_NONE ? gap : hole, missing);
            continue;
        }
        int rc = take_frame(r, &h, frame, item);
        if (rc <= 0)
            return rc;
    }
    return 1;
}

// ---- the beginning

// No segment begins at or before what is needed; `oldest` is the first that was begun. Where the one before it was being begun when the
// power went, it is not missing: what is behind it can only bear witness. False: salvage begins with the oldest.
static bool begin_without(struct recover *r, uint32_t oldest)
{
    uint64_t missing, first_lsn = r->segments[oldest].header.first_lsn;
    if (r->options.salvage) {
        recover_warn(r, "lost: LSN %" PRIu64 " to %" PRIu64 ": files of the log are missing", r->base + 1, first_lsn - 1);
        r->lost = true;
        return false;
    }
    if (recover_gap(r, &missing) != HOLE_MISSING)
        return true;
    recover_place_segment(r, oldest, 0);
    recover_conclude(r, RECOVER_ROT, "R8",
                     "the log is needed from LSN %" PRIu64 " on, but begins with LSN %" PRIu64 " in %s: older files are missing. Put them "
                     "back from a backup, or: skerry-admin salvage",
                     r->base + 1, first_lsn, r->report.file);
    return true;
}

// The last one that begins at or before what is needed; those before it are not.
void recover_log_begin(struct recover *r)
{
    uint32_t first = r->segment_count, any = r->segment_count;
    for (uint32_t i = r->segment_count; i-- > 0 && first == r->segment_count;) {
        const struct segment_file *s = &r->segments[i];
        if (s->dead || s->state != SEGMENT_BEGUN)
            continue;
        any = i;
        if (s->header.first_lsn <= r->base + 1)
            first = i;
    }
    r->phase = PHASE_LOG;
    r->at = r->segment_count;
    r->lsn = r->unit_lsn = r->report.lsn = r->base;
    if (any == r->segment_count || (first == r->segment_count && begin_without(r, any)))
        return;
    first = first == r->segment_count ? any : first;
    const struct segment_header *h = &r->segments[first].header;
    r->lsn = r->unit_lsn = r->report.lsn = h->first_lsn - 1;
    r->crc = r->unit_crc = h->previous_crc;
    r->crc_known = h->previous_id != 0 || h->first_lsn == 1;
    r->unit_segment = h->previous_id;
    r->first_frame = true;
    go_to(r, first);
}
