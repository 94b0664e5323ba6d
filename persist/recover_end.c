// SPDX-License-Identifier: Apache-2.0
// Where the log ends, and whether it may: the one place that decides between a torn tail and rot.
//
// L is the last frame of the last unit that is whole. A *witness* is an LSN that somebody called durable: a later frame (its durable LSN),
// a seal or a clean stop (frames, too), the manifest. What is at L + 1 instead of a frame, and what comes behind it:
//
//   at L + 1              | no witness > L                        | a witness > L
//                         | nothing behind    | frames behind     | frames behind     | nothing behind
//   ----------------------+-------------------+-------------------+-------------------+------------------
//   nothing               | R1 clean          | R2 cut            | R3 rot            | R4 rot
//   a frame's beginning   | R1 cut            | R2 cut            | R3 rot            | R4 rot
//   unreadable blocks     | R5 the disk       | R5 the disk       | R3 rot            | R4 rot
//   both headers bad      | R1 cut            | R2 cut            | R7 rot            | R7 rot
//   made ahead            | R1 cut            | R2 cut            | R3 rot            | R4 rot
//   segment missing       | R8 foreign        | R8 foreign        | R8 foreign        | R8 foreign
//
// "Behind" is the rest of this segment and all later ones of the line, those without a valid header too. A segment's header is no witness:
// it may have been written while the frames before it were under way. Unreadable (blocks, or a later segment of which no header can be
// read, so that none of its frames can be known) is never an end, for an acknowledged frame may lie there;
// a missing file neither, for files are made before they are used. Below the snapshot's LSN nothing is missed.
#include <inttypes.h>

#include "base/bytes.h"
#include "persist/recover_inside.h"

struct judgement {
    enum recover_verdict verdict;
    const char *rule;
};

static const struct judgement TABLE[HOLES][2][2] = {
    // [what is there][a witness > L][frames behind]
    [HOLE_NOTHING] = { { { RECOVER_CLEAN, "R1" }, { RECOVER_CUT, "R2" } }, { { RECOVER_ROT, "R4" }, { RECOVER_ROT, "R3" } } },
    [HOLE_TORN] = { { { RECOVER_CUT, "R1" }, { RECOVER_CUT, "R2" } }, { { RECOVER_ROT, "R4" }, { RECOVER_ROT, "R3" } } },
    [HOLE_UNREADABLE] = { { { RECOVER_IO, "R5" }, { RECOVER_IO, "R5" } }, { { RECOVER_ROT, "R4" }, { RECOVER_ROT, "R3" } } },
    [HOLE_HEADERS] = { { { RECOVER_CUT, "R1" }, { RECOVER_CUT, "R2" } }, { { RECOVER_ROT, "R7" }, { RECOVER_ROT, "R7" } } },
    [HOLE_AHEAD] = { { { RECOVER_CUT, "R1" }, { RECOVER_CUT, "R2" } }, { { RECOVER_ROT, "R4" }, { RECOVER_ROT, "R3" } } },
    [HOLE_MISSING] = { { { RECOVER_FOREIGN, "R8" }, { RECOVER_FOREIGN, "R8" } }, { { RECOVER_FOREIGN, "R8" }, { RECOVER_FOREIGN, "R8" } } },
};

static const char *const SEEN[HOLES] = {
    [HOLE_NOTHING] = "there is no frame",       [HOLE_TORN] = "the frame does not verify",
    [HOLE_UNREADABLE] = "the disk cannot read", [HOLE_HEADERS] = "both headers of the next segment are bad",
    [HOLE_AHEAD] = "the next segment is empty", [HOLE_MISSING] = "the next segment is missing",
};

// ---- what lies behind

struct walk {
    uint32_t segment;
    uint64_t offset;
};

struct beyond {
    uint64_t witness;
    char witness_file[SEGMENT_NAME_MAX];
    uint64_t frames;
    uint64_t first_lsn, last_lsn;
    struct walk first; // where the first one lies
    struct frame_head first_head;
    bool here;       // in the segment where the log ends
    uint64_t hidden; // id of a segment whose headers cannot be read; 0: none
    bool headless;   // there is one without a valid header
    uint32_t shard_count, shards[LOST_SHARDS_MAX];
    uint64_t seen[SHARDS_MAX / 64];
};

static bool readable(struct recover *r, struct beyond *b, uint32_t segment)
{
    const struct segment_file *s = &r->segments[segment];
    if (s->dead || (s->state != SEGMENT_BEGUN && s->state != SEGMENT_BAD))
        return false;
    b->headless |= s->state == SEGMENT_BAD;
    if (s->state == SEGMENT_BAD && s->unreadable)
        b->hidden = s->id;
    if (recover_enter(r, segment) == 0)
        return true;
    recover_warn(r, "%s cannot be opened again", segment_text(s->id).text);
    return false;
}

// The next frame that verifies and is later than the last good one; *w: behind it.
static bool walk_next(struct recover *r, struct beyond *b, struct walk *w, struct walk *found, struct frame_head *h, const uint8_t **frame)
{
    for (; w->segment < r->segment_count; w->segment++, w->offset = BLOCK_SIZE) {
        const struct segment_file *s = &r->segments[w->segment];
        if (!readable(r, b, w->segment))
            continue;
        while (w->offset < recover_limit(r, w->segment)) {
            *found = *w;
            bool good = recover_frame(r, w->segment, w->offset, h, frame) == HOLE_NONE;
            w->offset += good ? (uint64_t)h->blocks * BLOCK_SIZE : BLOCK_SIZE;
            if (good && h->lsn > r->lsn && (!s->has_bound || h->lsn <= s->bound))
                return true;
        }
    }
    return false;
}

// Shards of which this frame shows that something is missing before it.
static void note_shards(const struct recover *r, struct beyond *b, const struct frame_head *h, const uint8_t *frame)
{
    const uint8_t *at = frame + FRAME_HEAD;
    uint64_t left = h->payload;
    struct sub_batch batch;
    if (h->flags & (FRAME_MIDDLE | FRAME_LAST))
        return;
    while (sub_batch_next(&batch, &at, &left) == 0) {
        uint64_t *word = &b->seen[batch.shard / 64], bit = UINT64_C(1) << batch.shard % 64;
        if (batch.shard >= r->shards || (*word & bit) != 0)
            continue;
        *word |= bit;
        uint64_t wanted = r->next[batch.shard] == 0 ? r->marks[batch.shard] + 1 : r->next[batch.shard];
        if (batch.first > wanted && b->shard_count < LOST_SHARDS_MAX)
            b->shards[b->shard_count++] = batch.shard;
    }
}

static void look_behind(struct recover *r, struct beyond *b)
{
    bool nowhere = r->at == r->segment_count;
    struct walk w = { .segment = nowhere ? 0 : r->at, .offset = nowhere ? BLOCK_SIZE : r->offset + BLOCK_SIZE }, found;
    struct frame_head h;
    const uint8_t *frame;
    memset(b, 0, sizeof *b);
    b->witness = r->witness_known ? r->witness : r->manifest.witness;
    memcpy(b->witness_file, manifest_name(r->manifest.generation), sizeof "MANIFEST.a");
    while (walk_next(r, b, &w, &found, &h, &frame)) {
        if (b->frames++ == 0) {
            b->first = found;
            b->first_head = h;
            b->first_lsn = h.lsn;
        }
        b->here |= found.segment == r->at;
        b->last_lsn = h.lsn > b->last_lsn ? h.lsn : b->last_lsn;
        if (r->witness_known)
            return; // salvage has looked at all of it before
        note_shards(r, b, &h, frame);
        if (h.durable > b->witness) {
            b->witness = h.durable;
            segment_name(r->segments[found.segment].id, b->witness_file);
        }
    }
    r->witness = b->witness;
    r->witness_known = r->options.salvage;
}

// ---- the verdict

static void shards_text(const struct beyond *b, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < b->shard_count; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRIu32, i == 0 ? "; shards " : ", ", b->shards[i]);
    if (b->shard_count == LOST_SHARDS_MAX)
        snprintf(text + used, size - used, " and perhaps others");
}

static void refuse(struct recover *r, const struct beyond *b, const struct judgement *j, enum hole hole, uint64_t missing)
{
    char shards[32 + LOST_SHARDS_MAX * 8];
    uint64_t to = b->witness > r->unit_lsn ? b->witness : r->unit_lsn + 1;
    if (b->frames > 0 && b->first_lsn > r->unit_lsn + 1 && b->first_lsn - 1 < to)
        to = b->first_lsn - 1;
    r->report.lost_from = r->unit_lsn + 1;
    r->report.lost_to = to;
    shards_text(b, shards, sizeof shards);
    if (missing != 0)
        recover_place(r, segment_text(missing).text, 0);
    if (j->verdict == RECOVER_IO)
        recover_conclude(r, j->verdict, j->rule,
                         "%s at %" PRIu64 ": %s what may be LSN %" PRIu64
                         ", which may have been acknowledged. Copy the file from the failing "
                         "disk, restore a backup or take a replica's data, or: skerry-admin salvage",
                         r->report.file, r->report.offset, SEEN[hole], r->unit_lsn + 1);
    else
        recover_conclude(r, j->verdict, j->rule,
                         "%s at %" PRIu64 ": %s, LSN %" PRIu64 " to %" PRIu64 " are damaged or lost%s%s%s%s. Restore a backup or take a "
                         "replica's data, or write what can be saved to another directory: skerry-admin salvage",
                         r->report.file, r->report.offset, SEEN[hole], r->report.lost_from, to,
                         b->witness > r->unit_lsn ? ", and they were durable: " : "", b->witness > r->unit_lsn ? b->witness_file : "",
                         b->witness > r->unit_lsn ? " says so" : "", shards);
}

static void end_of_log(struct recover *r, const struct judgement *j, enum hole hole)
{
    bool half_chain = r->lsn > r->unit_lsn;
    enum recover_verdict verdict = half_chain ? RECOVER_CUT : j->verdict;
    if (r->lost) {
        recover_conclude(r, RECOVER_ROT, "R3", "some of the log is lost: see above. What was saved ends with LSN %" PRIu64, r->unit_lsn);
        return;
    }
    if (verdict == RECOVER_CUT)
        recover_conclude(r, verdict, j->rule, "the log was cut behind LSN %" PRIu64 ", %s at %" PRIu64 ": %s", r->unit_lsn, r->report.file,
                         r->report.offset, half_chain ? "the rest of a chain is missing" : SEEN[hole]);
    else
        recover_conclude(r, verdict, j->rule, "the log ends with LSN %" PRIu64 "%s", r->unit_lsn,
                         r->stopped                           ? ", a clean stop"
                         : r->sealed == r->lsn && r->lsn != 0 ? ", sealed"
                                                              : "");
}

// Goes on at the first frame behind.
static void resume(struct recover *r, const struct beyond *b)
{
    r->at = b->first.segment;
    r->offset = b->first.offset;
    int rc = recover_enter(r, r->at);
    if (rc == 0)
        recover_resume(r, &b->first_head);
    else
        recover_conclude(r, RECOVER_IO, "R5", "%s cannot be opened again (error %d). Look at the disk, then start again",
                         segment_text(r->segments[r->at].id).text, -rc);
}

static void salvage(struct recover *r, const struct beyond *b, enum hole hole)
{
    uint64_t to = b->frames > 0 ? b->first_lsn - 1 : b->witness;
    recover_warn(r, "lost: LSN %" PRIu64 " to %" PRIu64 ", %s at %" PRIu64 ": %s", r->unit_lsn + 1, to, r->report.file, r->report.offset,
                 SEEN[hole]);
    r->lost = true;
    r->report.lost_from = r->report.lost_from == 0 ? r->unit_lsn + 1 : r->report.lost_from;
    r->report.lost_to = to;
    if (b->frames > 0)
        resume(r, b);
    else
        end_of_log(r, &TABLE[HOLE_NOTHING][0][0], hole);
}

void recover_hole(struct recover *r, enum hole hole, uint64_t missing)
{
    struct beyond b;
    recover_place_segment(r, r->at, r->offset);
    look_behind(r, &b);
    if (r->lsn < r->base && b.frames > 0 && b.first_lsn <= r->base + 1) {
        recover_warn(r, "%s at %" PRIu64 ": %s, but the snapshot holds what was there", r->report.file, r->report.offset, SEEN[hole]);
        resume(r, &b);
        return;
    }
    if (r->lsn < r->base) { // nor is anything missed up to there: the next segment begins anew
        r->lsn = r->unit_lsn = r->report.lsn = r->base;
        r->unit_crc = 0;
        r->unit_segment = 0;
        r->in_chain = false;
        hole = HOLE_NOTHING;
    }
    bool witnessed = b.witness > r->unit_lsn && r->options.fault != RECOVER_FAULT_NO_WITNESS;
    witnessed |= r->options.fault == RECOVER_FAULT_TORN_IS_ROT && (hole == HOLE_TORN || b.headless);
    if (hole == HOLE_NOTHING && witnessed && b.frames > 0 && r->segments[b.first.segment].state == SEGMENT_BAD) {
        hole = HOLE_HEADERS;
        missing = r->segments[b.first.segment].id;
    }
    if (!witnessed && b.hidden != 0) {
        hole = HOLE_UNREADABLE;
        missing = b.hidden;
    }
    const struct judgement *j = &TABLE[hole][witnessed][b.frames > 0];
    bool after_stop = r->stopped && b.here;
    if (after_stop && !r->options.salvage)
        recover_conclude(r, RECOVER_BROKEN, "R10",
                         "%s: LSN %" PRIu64 " lies behind the clean stop at LSN %" PRIu64
                         ". This is a bug of ours, or somebody changed the "
                         "file knowing how: keep a copy of the directory, report it, and use skerry-admin salvage",
                         r->report.file, b.first_lsn, r->lsn);
    else if (!after_stop && (j->verdict == RECOVER_CLEAN || j->verdict == RECOVER_CUT))
        end_of_log(r, j, hole);
    else if (r->options.salvage)
        salvage(r, &b, hole);
    else
        refuse(r, &b, j, hole, missing);
}
