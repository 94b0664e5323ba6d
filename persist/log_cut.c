// SPDX-License-Identifier: Apache-2.0
// Which batches go into the next unit: of each port a prefix of what has come, such that of every transaction with a marker in it all
// markers are in it.
//
// Beginning with the first batch of one port, a *group* is closed: a batch brings those before it on its port, a marker brings the batches
// of all its peers. A group that lacks markers which have not come leaves its port blocked until a transaction is complete. Groups are
// added port by port as long as they fit one frame and it is not yet worth a flush of its own; a group that is larger than a frame is a
// unit alone.
#include "persist/log_inside.h"

#include "base/bytes.h"

static struct log_marker **row_of(struct log *l, uint64_t txn)
{
    return &l->rows[(txn * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (LOG_TXN_ROWS - 1)];
}

static void unblock(struct log *l)
{
    for (uint32_t p = 0; p < l->options.ports; p++)
        l->lines[p].blocked = false;
}

static void marker_add(struct log *l, struct log_marker *m, struct log_batch *b)
{
    struct log_marker **row = row_of(l, m->txn), *first = *row;
    while (first != NULL && first->txn != m->txn)
        first = first->chain;
    m->seen = 0;
    m->batch = b;
    m->peer = NULL;
    if (first == NULL) {
        first = m;
        m->chain = *row;
        *row = m;
    } else {
        m->peer = first->peer;
        first->peer = m;
    }
    m->first = first;
    first->seen++;
    assert(m->parts == first->parts && first->seen <= first->parts);
    if (first->seen == first->parts)
        unblock(l);
}

// Its transaction goes into a unit, with all markers.
static void marker_forget(struct log *l, struct log_marker *m)
{
    if (m->first != m)
        return;
    struct log_marker **at = row_of(l, m->txn);
    while (*at != m)
        at = &(*at)->chain;
    *at = m->chain;
}

static void batch_add(struct log *l, uint32_t p, struct log_batch *b)
{
    struct log_line *line = &l->lines[p];
    assert(b->position == line->taken + 1);
    line->taken = b->position;
    if (b->sync) {
        line->sync_to = b->position;
        l->urgent = true;
    }
    if (b->soon)
        line->soon_to = b->position;
    b->port = p;
    b->next = NULL;
    *line->last = b;
    line->last = &b->next;
    if (l->pending == 0)
        l->pending_since_ns = l->r->now_ns;
    l->pending++;
    l->pending_bytes += b->data.len;
    for (uint32_t i = 0; i < b->marker_count; i++)
        marker_add(l, &b->markers[i], b);
}

void log_cut_pull(struct log *l)
{
    for (uint32_t p = 0; p < l->options.ports; p++) {
        struct log_port *port = l->ports[p];
        bool sync = atomic_load_explicit(&port->wants_sync, memory_order_relaxed);
        if (sync) // and then what was sent before it is seen
            (void)atomic_exchange_explicit(&port->wants_sync, false, memory_order_acq_rel);
        for (struct log_batch *b = log_port_pull(&port->in), *next; b != NULL; b = next) {
            next = b->next;
            batch_add(l, p, b);
            l->stuck = false;
        }
        if (sync && l->lines[p].sync_to < l->lines[p].taken) {
            l->lines[p].sync_to = l->lines[p].taken;
            l->urgent = true;
        }
    }
}

void log_cut_give_back(struct log *l, struct log_batch *b)
{
    struct log_port *port = l->ports[b->port];
    log_add(&port->taken_bytes, b->data.len);
    log_add(&l->stats.batches, 1);
    b->data.len = 0;
    b->marker_count = 0;
    b->batches = 0;
    b->sync = b->soon = false;
    log_port_push(&port->spent, b);
}

// ---- groups

struct group {
    uint64_t bytes;
    bool all; // every port may have a part in it
};

// False: parts of one of its transactions have not come.
static bool batch_reach(struct log *l, const struct log_batch *b)
{
    for (uint32_t i = 0; i < b->marker_count; i++) {
        struct log_marker *first = b->markers[i].first;
        if (first->seen < first->parts)
            return false;
        for (struct log_marker *m = first; m != NULL; m = m->peer) {
            struct log_line *line = &l->lines[m->batch->port];
            if (line->want < m->batch->position)
                line->want = m->batch->position;
        }
    }
    return true;
}

// Goes on along one port as far as the group reaches there. 0: it was there already; 1: it went on; -1: parts are missing.
static int line_reach(struct log *l, struct log_line *line, struct group *g)
{
    int moved = 0;
    while (line->reach < line->want) {
        if (!batch_reach(l, line->reach_at))
            return -1;
        g->bytes += line->reach_at->data.len;
        line->reach = line->reach_at->position;
        line->reach_at = line->reach_at->next;
        moved = 1;
    }
    return moved;
}

// The group of port p's first batch. False: it cannot be closed yet.
static bool group_close(struct log *l, uint32_t p, struct group *g)
{
    struct log_batch *b = l->lines[p].first;
    *g = (struct group){ .bytes = b->data.len };
    if (b->marker_count == 0 || l->options.fault == LOG_FAULT_HALF_TXN)
        return true;
    *g = (struct group){ .all = true };
    for (uint32_t q = 0; q < l->options.ports; q++) {
        struct log_line *line = &l->lines[q];
        line->want = line->reach = l->cut[q];
        line->reach_at = line->first;
    }
    l->lines[p].want++;
    int moved;
    do {
        moved = 0;
        for (uint32_t q = 0; q < l->options.ports && moved >= 0; q++) {
            int rc = line_reach(l, &l->lines[q], g);
            moved = rc != 0 ? rc : moved;
        }
    } while (moved > 0);
    return moved == 0;
}

static void batch_take(struct log *l, struct log_line *line)
{
    struct log_batch *b = line->first;
    struct log_unit *u = &l->unit;
    line->first = b->next;
    if (line->first == NULL)
        line->last = &line->first;
    for (uint32_t i = 0; i < b->marker_count; i++)
        marker_forget(l, &b->markers[i]);
    u->txn |= b->marker_count > 0;
    u->bytes += b->data.len;
    u->batches += b->batches;
    u->oldest_ns = log_earlier(u->oldest_ns, b->built_ns);
    l->cut[b->port] = b->position;
    l->cut_bytes += b->data.len;
    l->pending--;
    l->pending_bytes -= b->data.len;
    b->next = NULL;
    *u->last = b;
    u->last = &b->next;
}

static void group_take(struct log *l, uint32_t p, const struct group *g)
{
    if (!g->all) {
        batch_take(l, &l->lines[p]);
        return;
    }
    for (uint32_t q = 0; q < l->options.ports; q++) {
        while (l->cut[q] < l->lines[q].want)
            batch_take(l, &l->lines[q]);
    }
}

// Adds groups of one port. False: the unit is full.
static bool port_cut(struct log *l, uint32_t p, uint64_t limit, uint64_t enough)
{
    struct log_line *line = &l->lines[p];
    struct log_unit *u = &l->unit;
    while (line->first != NULL && !line->blocked) {
        struct group g;
        if (u->bytes >= enough)
            return false;
        if (!group_close(l, p, &g)) {
            line->blocked = true;
            break;
        }
        if (u->first != NULL && u->bytes + g.bytes > limit)
            return false;
        group_take(l, p, &g);
    }
    return true;
}

bool log_cut_next(struct log *l)
{
    struct log_unit *u = &l->unit;
    uint32_t left = log_segments_left(l);
    bool last = l->ready == NULL && left > 0; // rather a small unit now than a large one when there is a segment
    uint64_t limit = log_frames_capacity(l, last ? left : l->blocks_max);
    uint64_t enough = limit < FRAME_TARGET ? limit : FRAME_TARGET;
    assert(!u->active);
    *u = (struct log_unit){ .last = &u->first };
    // The next unit begins with the port behind: one that always has much does not keep the others waiting.
    bool more = true;
    for (uint32_t i = 0; i < l->options.ports && more; i++) {
        more = port_cut(l, l->next_port, limit, enough);
        l->next_port = l->next_port + 1 == l->options.ports ? 0 : l->next_port + 1;
    }
    u->active = u->first != NULL;
    l->stuck = !u->active;
    l->urgent = false;
    for (uint32_t p = 0; p < l->options.ports && l->pending > 0; p++)
        l->urgent |= l->lines[p].sync_to > l->cut[p];
    l->pending_since_ns = l->r->now_ns;
    return u->active;
}

void log_cut_drop(struct log *l)
{
    struct log_unit *u = &l->unit;
    for (struct log_batch *b = u->active ? u->first : NULL, *next; b != NULL; b = next) {
        next = b->next;
        log_cut_give_back(l, b);
    }
    u->active = false;
    for (uint32_t p = 0; p < l->options.ports; p++) {
        struct log_line *line = &l->lines[p];
        for (struct log_batch *b = line->first, *next; b != NULL; b = next) {
            next = b->next;
            log_cut_give_back(l, b);
        }
        line->first = NULL;
        line->last = &line->first;
    }
    memset(l->rows, 0, sizeof l->rows);
    l->pending = l->pending_bytes = 0;
}
