// SPDX-License-Identifier: Apache-2.0
#include "test/crash/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT     65536u
#define OPS_MAX     5
#define CHANGES_MAX OPS_MAX

enum name_op { OP_CREATE, OP_HEADER, OP_BEGIN, OP_SYNC_FILE, OP_SYNC_NAMES, OP_RENAME, OP_UNLINK, OPS };

static const char *const OP_NAMES[OPS] = { "create", "header", "begin", "fsync", "fsync of the directory", "rename", "unlink" };

enum slot_name { NAME_PART, NAME_SEGMENT, NAMES };

enum header { HEADER_NONE, HEADER_AHEAD, HEADER_BEGUN };

struct inode {
    enum header now, durable; // what its headers say
};

enum change_kind { CREATED, RENAMED, UNLINKED };

struct change {
    enum change_kind kind;
    enum slot_name name;
    int inode;
};

// A directory with at most one segment more than there was.
struct world_of_names {
    struct inode inodes[OPS_MAX];
    int inode_count;
    int now[NAMES], durable[NAMES]; // inode, -1: none
    struct change changes[CHANGES_MAX];
    uint32_t change_count;
};

struct names {
    const struct sweep_options *options;
    struct sweep_result *result;
    struct past *past;
    struct past_due due;
    struct sim_disk *base;
    struct segment_header header;
    char file[NAMES][SIM_DISK_NAME_MAX];
    enum name_op ops[OPS_MAX];
    uint32_t op_count;
    uint64_t next; // state
};

// ---- what the operations do; false: it cannot be done now

static bool change(struct world_of_names *w, enum change_kind kind, enum slot_name name, int inode)
{
    w->changes[w->change_count++] = (struct change){ .kind = kind, .name = name, .inode = inode };
    return true;
}

static int target(const struct world_of_names *w)
{
    return w->now[NAME_SEGMENT] >= 0 ? w->now[NAME_SEGMENT] : w->now[NAME_PART];
}

static bool apply(struct world_of_names *w, enum name_op op)
{
    int at = target(w);
    enum slot_name name = w->now[NAME_SEGMENT] >= 0 ? NAME_SEGMENT : NAME_PART;
    switch (op) {
    case OP_CREATE:
        if (w->now[NAME_PART] >= 0)
            return false;
        w->now[NAME_PART] = w->inode_count;
        return change(w, CREATED, NAME_PART, w->inode_count++);
    case OP_HEADER:
    case OP_BEGIN:
        if (at < 0)
            return false;
        w->inodes[at].now = op == OP_HEADER ? HEADER_AHEAD : HEADER_BEGUN;
        return true;
    case OP_SYNC_FILE:
        if (at < 0)
            return false;
        w->inodes[at].durable = w->inodes[at].now;
        return true;
    case OP_SYNC_NAMES:
        memcpy(w->durable, w->now, sizeof w->durable);
        w->change_count = 0;
        return true;
    case OP_RENAME:
        if (w->now[NAME_PART] < 0)
            return false;
        w->now[NAME_SEGMENT] = w->now[NAME_PART];
        w->now[NAME_PART] = -1;
        return change(w, RENAMED, NAME_PART, w->now[NAME_SEGMENT]);
    case OP_UNLINK:
        if (at < 0)
            return false;
        w->now[name] = -1;
        return change(w, UNLINKED, name, at);
    case OPS:
        break;
    }
    return false;
}

// ---- what may be left

static bool touch_each_other(const struct change *a, const struct change *b)
{
    return a->name == b->name || a->kind == RENAMED || b->kind == RENAMED; // a rename is of both names
}

// The names that are left when these changes survive; false: changes of one name keep their order, so that cannot be.
static bool names_left(const struct world_of_names *w, uint32_t mask, int left[NAMES])
{
    memcpy(left, w->durable, sizeof w->durable);
    for (uint32_t i = 0; i < w->change_count; i++) {
        const struct change *c = &w->changes[i];
        if ((mask >> i & 1) == 0)
            continue;
        for (uint32_t k = 0; k < i; k++)
            if ((mask >> k & 1) == 0 && touch_each_other(&w->changes[k], c))
                return false;
        left[c->name] = c->kind == CREATED ? c->inode : -1;
        if (c->kind == RENAMED)
            left[NAME_SEGMENT] = c->inode;
    }
    return true;
}

enum bytes_left { BYTES_NOTHING, BYTES_ZEROS, BYTES_FIRST, BYTES_SECOND, BYTES_HALF, BYTES_ALL, BYTES };

static void lay(const struct names *n, struct sim_disk *d, const struct inode *inode, const char *name, enum bytes_left left)
{
    static uint8_t bytes[SEGMENT], block[BLOCK_SIZE];
    enum header says[2] = { inode->durable, inode->durable };
    struct segment_header h = n->header;
    bool synced = inode->durable == inode->now;
    memset(bytes, 0, sizeof bytes);
    if (!synced && (left == BYTES_FIRST || left == BYTES_ALL || left == BYTES_HALF))
        says[0] = inode->now;
    if (!synced && (left == BYTES_SECOND || left == BYTES_ALL))
        says[1] = inode->now;
    for (int i = 0; i < 2; i++) {
        if (says[i] == HEADER_NONE)
            continue;
        h.first_lsn = says[i] == HEADER_BEGUN ? n->header.first_lsn : 0;
        segment_encode(&h, block);
        memcpy(bytes + (i == 0 ? 0 : SEGMENT - BLOCK_SIZE), block, !synced && left == BYTES_HALF ? 512 * 3 : BLOCK_SIZE);
    }
    sim_disk_put(d, name, bytes, synced || left != BYTES_NOTHING ? SEGMENT : 0);
}

static void check_left(struct names *n, const struct world_of_names *w, const int left[NAMES], enum bytes_left bytes)
{
    struct past_found found;
    struct prng none;
    n->next++;
    if (n->result->check != CHECK_NONE || (n->options->only != SWEEP_ALL && n->options->only != n->next))
        return;
    prng_init(&none, 0);
    struct sim_disk *d = sim_disk_crash(n->base, &none, CRASH_KEEP);
    for (int i = 0; i < NAMES; i++)
        if (left[i] >= 0)
            lay(n, d, &w->inodes[left[i]], n->file[i], bytes);
    past_read(n->past, &found, d, n->options->recover_fault);
    enum crash_check check = past_check(n->past, &found, &n->due);
    n->result->states++;
    if (n->options->verbose || check != CHECK_NONE) {
        char text[256] = "";
        for (uint32_t i = 0; i < n->op_count; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i > 0 ? ", " : "", OP_NAMES[n->ops[i]]);
        if (n->options->verbose)
            printf("state %" PRIu64 ": %s; bytes %d: %s\n", n->next, text, (int)bytes, found.report.text);
        if (check != CHECK_NONE) {
            n->result->check = check;
            n->result->state = n->next;
            snprintf(n->result->text, sizeof n->result->text, "%s: %s: %.256s", check_name(check), text, found.text);
        }
    }
    sim_disk_free(d);
}

static void crash_here(struct names *n, const struct world_of_names *w)
{
    for (uint32_t mask = 0; mask < UINT32_C(1) << w->change_count; mask++) {
        int left[NAMES];
        if (!names_left(w, mask, left))
            continue;
        bool open = false; // something of the bytes is not decided
        for (int i = 0; i < NAMES; i++)
            open |= left[i] >= 0 && w->inodes[left[i]].durable != w->inodes[left[i]].now;
        for (int bytes = 0; bytes < (open ? BYTES : 1); bytes++)
            check_left(n, w, left, (enum bytes_left)bytes);
    }
}

static void go_on(struct names *n, const struct world_of_names *w, uint32_t most)
{
    for (int op = 0; op < OPS && n->op_count < most; op++) {
        struct world_of_names next = *w;
        if (!apply(&next, (enum name_op)op))
            continue;
        n->ops[n->op_count++] = (enum name_op)op;
        crash_here(n, &next);
        go_on(n, &next, most);
        n->op_count--;
    }
}

// ---- what was there before

static bool prepare(struct names *n)
{
    struct prng p;
    struct node node;
    prng_init(&p, n->options->seed);
    struct node_knobs knobs = node_knobs_draw(&p);
    knobs.errors = 0;
    struct sim_disk *disk = sim_disk_new(n->options->seed);
    bool good = node_start(&node, disk, n->past, &knobs, n->options->seed) == 0;
    for (int i = 0; i < 120 && good; i++)
        node_step(&node);
    good = good && node_settle(&node) && node_idle(&node, 100);
    n->due.workers = knobs.workers;
    for (uint32_t s = 0; s < PAST_SHARDS; s++)
        n->due.sequences[s] = n->past->shards[s].count;
    n->base = sim_disk_crash(disk, &p, CRASH_KEEP);
    node_free(&node);
    sim_disk_free(disk);
    return good;
}

static void next_segment(struct names *n)
{
    struct past_found found;
    past_read(n->past, &found, n->base, 0);
    n->header = (struct segment_header){
        .store = found.origin.store,
        .history = found.origin.history,
        .id = 1000,
        .epoch = 7,
        .first_lsn = found.origin.lsn + 1,
        .previous_id = found.origin.last_segment,
        .previous_lsn = found.origin.lsn,
        .previous_crc = found.origin.last_crc,
        .shards = PAST_SHARDS,
        .size = SEGMENT,
    };
    segment_name(n->header.id, n->file[NAME_SEGMENT]);
    snprintf(n->file[NAME_PART], sizeof n->file[NAME_PART], "log-%020u.skry.part", 1000u);
}

void names_run(const struct sweep_options *options, uint32_t ops, struct sweep_result *out)
{
    struct names n = { .options = options, .result = out, .past = past_new() };
    struct world_of_names w = { .now = { -1, -1 }, .durable = { -1, -1 } };
    assert(ops <= OPS_MAX);
    *out = (struct sweep_result){ .lives = 1 };
    if (prepare(&n)) {
        next_segment(&n);
        go_on(&n, &w, ops);
    } else {
        out->check = CHECK_BROKEN;
        snprintf(out->text, sizeof out->text, "%s: the run does not come to an end", check_name(out->check));
    }
    sim_disk_free(n.base);
    past_free(n.past);
}
