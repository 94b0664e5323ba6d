// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/forward.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/bundle.h"
#include "engine/shard/conn.h"
#include "engine/shard/defer.h"
#include "engine/shard/durability.h"
#include "engine/shard/gather.h"
#include "engine/shard/glance.h"
#include "engine/shard/monitor.h"
#include "engine/shard/native.h"
#include "engine/shard/run_call.h"
#include "engine/shard/span.h"
#include "engine/shard/watch.h"

// ---- to another worker

void forward_word(struct worker *w, uint32_t target, uint16_t word, uint64_t cookie, uint8_t flags)
{
    struct mesh_request *head = mesh_append(&w->mesh, target, MESH_REQUESTS, sizeof *head);
    assert(head != NULL);
    *head =
        (struct mesh_request){ .cookie = cookie, .size = sizeof *head, .argc = 1, .shard = MESH_NO_SHARD, .command = word, .flags = flags };
}

static struct blob *blob_of(const struct forward *f, uint32_t arg)
{
    return f->blobs != NULL && arg < f->blobs_cap ? f->blobs[arg] : NULL;
}

static size_t forward_size(const struct forward *f)
{
    size_t size = sizeof(struct mesh_request) + (f->argc - 1) * sizeof(uint32_t);
    for (uint32_t i = 1; i < f->argc; i++)
        size += blob_of(f, i) != NULL ? sizeof(struct blob *) : f->argv[i].len;
    return f->watcher != 0 ? round_up(size, MESH_ALIGN) + sizeof f->watcher : size;
}

bool forward_send(struct worker *w, const struct forward *f, struct pending *p)
{
    size_t size = forward_size(f);
    struct mesh_request *head = mesh_append(&w->mesh, f->target, MESH_REQUESTS, size);
    if (head == NULL)
        return false;
    *head = (struct mesh_request){
        .cookie = (uintptr_t)p,
        .size = (uint32_t)round_up(size, MESH_ALIGN),
        .argc = f->argc,
        .shard = f->shard == NO_SHARD ? MESH_NO_SHARD : (uint16_t)f->shard,
        .db = (uint16_t)f->db,
        .command = f->command,
        .protocol = f->protocol,
        .flags = (uint8_t)((f->in_txn ? MESH_IN_TXN : 0) | (f->no_touch ? MESH_NO_TOUCH : 0) | (f->refer ? MESH_REFER : 0) |
                           f->level << MESH_LEVEL_SHIFT),
    };
    if (unlikely(f->watcher != 0)) {
        head->flags |= MESH_WATCHER;
        store_u64((uint8_t *)head + head->size - sizeof f->watcher, f->watcher);
    }
    uint8_t *lengths = (uint8_t *)(head + 1);
    uint8_t *bytes = lengths + (f->argc - 1) * sizeof(uint32_t);
    for (uint32_t i = 1; i < f->argc; i++, lengths += sizeof(uint32_t)) {
        struct blob *blob = blob_of(f, i);
        assert(f->argv[i].len < MESH_BLOB);
        store_u32(lengths, (uint32_t)f->argv[i].len | (blob != NULL ? MESH_BLOB : 0));
        if (unlikely(blob != NULL)) {
            store_u64(bytes, (uintptr_t)blob);
            bytes += sizeof blob;
            f->blobs[i] = NULL;
            head->flags |= MESH_HAS_BLOBS;
            continue;
        }
        copy_short(bytes, f->argv[i].data, f->argv[i].len);
        bytes += f->argv[i].len;
    }
    return true;
}

// ---- for another worker

#define REPLY_INLINE 1024 // bytes of a late reply that travel in the block

// A request taken out of its block.
struct served {
    const struct mesh_request *head;
    const struct slice *argv;
    struct keyspace *keyspace;
    uint64_t hash;
    bool displaced; // as struct item's
};

uint64_t forward_watcher(const struct mesh_request *head)
{
    return (head->flags & MESH_WATCHER) != 0 ? load_u64((const uint8_t *)head + head->size - sizeof(uint64_t)) : 0;
}

static struct blob *blob_at(const uint8_t *bytes)
{
    return (struct blob *)(uintptr_t)load_u64(bytes);
}

static void views(struct served *s, struct slice *argv)
{
    const uint8_t *lengths = (const uint8_t *)(s->head + 1);
    const uint8_t *bytes = lengths + (s->head->argc - 1) * sizeof(uint32_t);
    uint16_t id = s->head->command;
    argv[0] = id >= MESH_WORDS ? slice_of(NULL, 0) : slice_cstr(command_at(id)->name);
    for (uint32_t i = 1; i < s->head->argc; i++, lengths += sizeof(uint32_t)) {
        uint32_t len = load_u32(lengths);
        if (unlikely((len & MESH_BLOB) != 0)) {
            argv[i] = slice_of(blob_at(bytes)->data, len & ~MESH_BLOB);
            bytes += sizeof(struct blob *);
            continue;
        }
        argv[i] = slice_of(bytes, len);
        bytes += len;
    }
    s->argv = argv;
}

struct blob **forward_blobs(const struct mesh_request *head)
{
    struct blob **blobs = calloc(head->argc, sizeof *blobs);
    const uint8_t *lengths = (const uint8_t *)(head + 1);
    const uint8_t *bytes = lengths + (head->argc - 1) * sizeof(uint32_t);
    for (uint32_t i = 1; blobs != NULL && i < head->argc; i++, lengths += sizeof(uint32_t)) {
        uint32_t len = load_u32(lengths);
        if (len & MESH_BLOB)
            blobs[i] = blob_at(bytes);
        bytes += len & MESH_BLOB ? sizeof(struct blob *) : len;
    }
    return blobs;
}

static void locate(struct worker *w, struct served *s)
{
    s->keyspace = NULL;
    s->hash = 0;
    if (s->head->shard == MESH_NO_SHARD || s->head->command >= MESH_WORDS)
        return;
    uint32_t first = (uint32_t)command_at(s->head->command)->key_first;
    if (first == 0 || first >= s->head->argc)
        first = 1;
    s->keyspace = store_keyspace(w->store, s->head->shard, s->head->db);
    s->hash = keyspace_hash(s->keyspace, s->argv[first]);
    keyspace_prefetch(s->keyspace, s->hash);
}

bool forward_refer(struct call *call, struct blob *value)
{
    if (value->len < REFS_MIN)
        return false;
    call->worker->found = blob_pin(value);
    return true;
}

static void run_served(struct worker *w, struct served *s, struct buf *out)
{
    const struct mesh_request *head = s->head;
    if (unlikely(w->gated))
        gate_serve(&w->gate, (head->flags & MESH_LEVEL) >> MESH_LEVEL_SHIFT);
    if (unlikely(head->command == MESH_BARE)) {
        native_serve_bare(w, head, s->argv, out);
        return;
    }
    if (head->command >= MESH_WORDS) {
        steps_serve(w, head, s->argv, out);
        return;
    }
    struct reply reply = { .out = out, .protocol = head->protocol };
    struct call call = call_on(w, &reply, head->db);
    call.command = command_at(head->command);
    call.argc = head->argc;
    call.argv = s->argv;
    call.keyspace = s->keyspace;
    call.hash = s->hash;
    struct blob **blobs = unlikely((head->flags & MESH_HAS_BLOBS) != 0) ? forward_blobs(head) : NULL;
    call.blobs = blobs;
    w->watcher = forward_watcher(head);
    call.refer = (head->flags & MESH_REFER) != 0 ? forward_refer : NULL;
    call.no_touch = (head->flags & MESH_NO_TOUCH) != 0;
    run_call(w, &call, (head->flags & MESH_IN_TXN) != 0);
    if (blobs == NULL)
        return;
    // What the command did not take goes back to the system.
    for (uint32_t i = 0; i < head->argc; i++)
        if (blobs[i] != NULL)
            blob_free(blobs[i]);
    free(blobs);
}

static void reply_value(struct worker *w, uint32_t to, uint64_t cookie, struct blob *value)
{
    struct mesh_reply *reply = mesh_append(&w->mesh, to, MESH_REPLIES, sizeof *reply + sizeof value);
    assert(reply != NULL);
    *reply = (struct mesh_reply){ .cookie = cookie, .len = sizeof value, .heap = MESH_VALUE };
    store_u64((uint8_t *)(reply + 1), (uintptr_t)value);
}

void forward_reply(struct worker *w, uint32_t to, uint64_t cookie, struct buf *out, struct blob *value)
{
    if (unlikely(value != NULL)) {
        buf_deinit(out);
        reply_value(w, to, cookie, value);
        return;
    }
    if (out->failed)
        out->len = 0;
    bool heap = out->len > REPLY_INLINE;
    size_t len = heap ? sizeof(struct mesh_heap) : out->len;
    struct mesh_reply *reply = mesh_append(&w->mesh, to, MESH_REPLIES, sizeof *reply + len);
    assert(reply != NULL);
    *reply = (struct mesh_reply){ .cookie = cookie, .len = (uint32_t)len, .heap = heap };
    if (heap) {
        *(struct mesh_heap *)(reply + 1) = (struct mesh_heap){ .bytes = out->data, .len = out->len };
        return;
    }
    if (len > 0)
        memcpy(reply + 1, out->data, len);
    buf_deinit(out);
}

// Requests that are not answered here and now: true.
static cold bool serve_aside(struct worker *w, uint32_t from, const struct served *s)
{
    const struct mesh_request *head = s->head;
    switch (head->command) {
    case MESH_QUEUE:
        txn_serve_queue(w, from, head);
        return true;
    case MESH_UNWATCH:
        watched_forget(w, head->cookie);
        return true;
    case MESH_SETTLE:
        durability_serve_settle(w, from, head->cookie);
        return true;
    case MESH_RELEASE:
        txn_serve_release(w, head);
        return true;
    case MESH_CUT:
        save_cut(w, head->cookie, (head->flags & MESH_BASE) != 0);
        return true;
    case MESH_UNLOG:
        logging_switch_detach(w);
        return true;
    case MESH_BARE:
        return w->txns.intents.count > 0 && native_defer_bare(w, from, head, s->argv);
    default:
        break;
    }
    if (head->command >= MESH_WORDS || (head->flags & MESH_IN_TXN) != 0)
        return false;
    if (s->keyspace == NULL && (command_at(head->command)->flags & CMD_CURSOR) == 0)
        return false;
    return defer_served(w, from, head, s->argv, s->hash);
}

// What the log of this worker's commands has to say of a request goes to where its connection is, in front of its reply.
static void send_note(struct worker *w, uint32_t from, uint64_t cookie, struct command_entry *entry, int kind)
{
    struct mesh_reply *note = entry == NULL ? NULL : mesh_append(&w->mesh, from, MESH_REPLIES, sizeof *note + sizeof(struct mesh_note));
    if (note == NULL) {
        command_entry_free(entry);
        return;
    }
    *note = (struct mesh_reply){ .cookie = cookie, .len = sizeof(struct mesh_note), .heap = MESH_NOTE };
    *(struct mesh_note *)(note + 1) = (struct mesh_note){ .entry = entry, .kind = (uint64_t)kind };
}

// Bytes that were written in the open block, out of the way of what has to go before them.
static bool move_to_heap(struct buf *out)
{
    uint8_t *copy = malloc(out->len + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, out->data, out->len);
    *out = (struct buf){ .data = copy, .len = out->len, .cap = out->len + 1, .limit = BUF_NO_LIMIT };
    return true;
}

static cold void notes_of(struct worker *w, uint32_t from, const struct served *s, struct command_entry *slow, struct buf *out)
{
    size_t len = w->found != NULL ? w->found->len : out->len;
    struct command_entry *large = stopwatch_large(w, LOG_LARGE_REPLY, command_at(s->head->command), s->argv, s->head->argc, len);
    if ((slow == NULL && large == NULL) || (out->borrowed && !move_to_heap(out))) {
        command_entry_free(slow);
        command_entry_free(large);
        return;
    }
    send_note(w, from, s->head->cookie, slow, LOG_SLOW);
    send_note(w, from, s->head->cookie, large, LOG_LARGE_REPLY);
}

#define MESH_ODD (MESH_HAS_BLOBS | MESH_WATCHER | MESH_IN_TXN) // what a glance does not look at

// The commonest request of another worker, GET of a small string that is here, as glance.h does it for frames: the command's answer and
// what it counts, written into the open block. False: nothing has happened.
static inline bool serve_glance(struct worker *w, uint32_t from, const struct served *s)
{
    const struct mesh_request *head = s->head;
    uint8_t *at = NULL;
    struct slice value;
    if (head->argc != 2 || (head->flags & MESH_ODD) != 0 || head->command >= MESH_WORDS ||
        command_at(head->command) != w->native_commands[FCNP_GET])
        return false;
    if (unlikely(s->keyspace == NULL || w->gated || w->txns.intents.count > 0 || w->watch.reply_min <= GLANCE_MAX))
        return false;
    if (unlikely(mesh_room(&w->mesh, from, MESH_REPLIES, &at) < sizeof(struct mesh_reply) + REPLY_HEADER_MAX + GLANCE_MAX + 2) ||
        unlikely(!keyspace_glance(s->keyspace, s->argv[1], s->hash, GLANCE_MAX, &value)))
        return false;
    uint8_t *text = at + sizeof(struct mesh_reply), *to = reply_put_header(text, '$', value.len);
    copy_short(to, value.data, value.len);
    store_u16(to + value.len, 0x0a0d);
    size_t len = (size_t)(to - text) + value.len + 2;
    struct mesh_reply *reply = mesh_append(&w->mesh, from, MESH_REPLIES, sizeof *reply + len);
    assert((uint8_t *)reply == at);
    *reply = (struct mesh_reply){ .cookie = head->cookie, .len = (uint32_t)len, .heap = MESH_BYTES };
    w->stats.commands++;
    w->commands[head->command].calls++;
    w->stats.requests_served++;
    return true;
}

// The reply is written where it will travel; only one that outgrows the block goes by the heap. `timed`: of this request alone,
// or NULL.
static void serve_one(struct worker *w, uint32_t from, struct served *s, struct span *timed)
{
    if (unlikely(s->head->command >= MESH_WORDS || w->txns.intents.count > 0) && serve_aside(w, from, s))
        return;
    uint8_t *at = NULL;
    size_t room = mesh_room(&w->mesh, from, MESH_REPLIES, &at);
    struct buf out;
    if (likely(room > 0))
        buf_init_borrowed(&out, at + sizeof(struct mesh_reply), room - sizeof(struct mesh_reply), BUF_NO_LIMIT);
    else
        buf_init(&out, BUF_NO_LIMIT);
    run_served(w, s, &out);
    struct command_entry *slow = NULL;
    if (unlikely(timed != NULL))
        slow = span_served(w, timed, command_at(s->head->command), s->argv, s->head->argc);
    if (unlikely(slow != NULL || w->found != NULL || out.len >= w->watch.reply_min) && s->head->command < MESH_WORDS)
        notes_of(w, from, s, slow, &out);
    struct blob *found = w->found;
    w->found = NULL;
    if (unlikely(w->gated) && gate_keep(w, from, s->head->cookie, &out, &found))
        return;
    if (unlikely(found != NULL)) {
        assert(out.len == 0);
        forward_reply(w, from, s->head->cookie, &out, found);
        w->stats.requests_served++;
        return;
    }
    if (out.failed)
        out.len = 0;
    size_t len = out.borrowed ? out.len : sizeof(struct mesh_heap);
    struct mesh_reply *reply = mesh_append(&w->mesh, from, MESH_REPLIES, sizeof *reply + len);
    assert(reply != NULL && (!out.borrowed || (uint8_t *)reply == at));
    *reply = (struct mesh_reply){ .cookie = s->head->cookie, .len = (uint32_t)len, .heap = out.borrowed ? MESH_BYTES : MESH_HEAP };
    if (!out.borrowed)
        *(struct mesh_heap *)(reply + 1) = (struct mesh_heap){ .bytes = out.data, .len = out.len };
    w->stats.requests_served++;
}

void forward_serve_single(struct worker *w, uint32_t from, const struct mesh_request *head, const struct item *item, struct span *timed)
{
    struct served s = { .head = head, .argv = item->request.argv, .keyspace = item->keyspace, .hash = item->hash };
    serve_one(w, from, &s, timed);
}

// One request with more arguments than the batch's array holds.
static void serve_large(struct worker *w, uint32_t from, struct served *s)
{
    struct slice *argv = malloc(s->head->argc * sizeof *argv);
    assert(argv != NULL); // the request itself took more
    views(s, argv);
    locate(w, s);
    struct span span = span_begin(w, 1);
    serve_one(w, from, s, s->head->command < MESH_WORDS ? &span : NULL);
    free(argv);
}

// Quick requests that took long together: the last one stands for them, and nobody knows its client here.
static cold void blame_served(struct worker *w, const struct served *batch, uint32_t end, uint64_t ticks)
{
    const struct mesh_request *head = batch[end - 1].head;
    if (head->command < MESH_WORDS)
        stopwatch_keep(w, LOG_SLOW, stopwatch_blame(w, command_at(head->command), batch[end - 1].argv, head->argc, ticks), NULL);
}

static cold bool times_alone(struct worker *w, struct span *span, const struct served *batch, uint32_t i)
{
    const struct mesh_request *head = batch[i].head;
    bool sampled = i == span->sample;
    if (sampled && span->weight != 1)
        span->sample += stopwatch_distance(&w->watch);
    if (head->command >= MESH_WORDS)
        return false;
    const struct command *command = command_at(head->command);
    if (!sampled && ((command->flags & w->watch.alone) == 0 || !stopwatch_times_alone(&w->watch, command, head->argc)))
        return false;
    uint64_t ticks = span_cut_served(w, span, i);
    if (unlikely(ticks > 0 && ticks >= w->watch.slow_ticks))
        blame_served(w, batch, i, ticks);
    return true;
}

static void serve_batch(struct worker *w, uint32_t from, struct served *batch, uint32_t count)
{
    struct span span = span_begin(w, count);
    for (uint32_t i = 0; i < count; i++) {
        uint16_t id = batch[i].head->command;
        uint32_t flags = likely(id < MESH_WORDS) ? command_at(id)->flags : 0;
        bool alone = span_picks(w, &span, i, flags) && times_alone(w, &span, batch, i);
        if (likely(!alone) && serve_glance(w, from, &batch[i]))
            continue;
        serve_one(w, from, &batch[i], unlikely(alone) ? &span : NULL);
    }
    uint64_t ticks = span_close(w, &span, count);
    if (unlikely(ticks > 0) && count > 0)
        blame_served(w, batch, count, ticks);
}

void forward_serve(struct worker *w, struct mesh_block *block)
{
    struct served batch[BATCH_REQUESTS];
    uint32_t offset = 0;
    while (offset < block->len) {
        uint32_t count = 0, args = 0;
        if (((const struct mesh_request *)(const void *)(block->data + offset))->command == MESH_BUNDLE) {
            offset = bundle_serve(w, block, offset);
            continue;
        }
        while (count < BATCH_REQUESTS && offset < block->len) {
            struct served *s = &batch[count];
            s->head = (const struct mesh_request *)(const void *)(block->data + offset);
            if (s->head->argc > BATCH_ARGS - args || s->head->command == MESH_BUNDLE)
                break;
            offset += s->head->size;
            views(s, w->args + args);
            locate(w, s);
            args += s->head->argc;
            count++;
            if (unlikely(s->keyspace == NULL) && s->head->command < MESH_WORDS && command_at(s->head->command)->run == cmd_swapdb)
                break; // what follows is located in other keyspaces
        }
        for (uint32_t i = 0; i < count; i++)
            batch[i].displaced = batch[i].keyspace != NULL && keyspace_prefetch_entry(batch[i].keyspace, batch[i].hash);
        for (uint32_t i = 0; i < count; i++)
            if (unlikely(batch[i].displaced))
                keyspace_prefetch_displaced(batch[i].keyspace, batch[i].hash);
        serve_batch(w, block->from, batch, count);
        if (count == 0) {
            offset += batch[0].head->size;
            serve_large(w, block->from, &batch[0]);
        }
    }
}

static cold void take_note(struct worker *w, const struct pending *p, const struct mesh_note *note)
{
    const struct conn *c = p->kind == PENDING_PART ? ((const struct gather *)p->owner)->due->conn : p->conn;
    stopwatch_keep(w, (int)note->kind, note->entry, c != NULL ? &c->client : NULL);
}

// To one request of a bundle.
static void answer_bundled(struct worker *w, struct pending *p, uint32_t at, const struct mesh_reply *reply)
{
    const struct mesh_heap *heap = (const struct mesh_heap *)(const void *)(reply + 1);
    if (reply->heap == MESH_VALUE) {
        bundle_value(w, p, at, blob_at((const uint8_t *)(reply + 1)));
        return;
    }
    if (reply->heap == MESH_BYTES) {
        bundle_reply(w, p, at, slice_of(reply + 1, reply->len));
        return;
    }
    bundle_reply(w, p, at, slice_of(heap->bytes, heap->len));
    free(heap->bytes);
}

void forward_answers(struct worker *w, struct mesh_block *block)
{
    for (uint32_t offset = 0; offset < block->len;) {
        const struct mesh_reply *reply = (const struct mesh_reply *)(const void *)(block->data + offset);
        offset += (uint32_t)round_up(sizeof *reply + reply->len, MESH_ALIGN);
        struct pending *p = (struct pending *)(uintptr_t)(reply->cookie & ((UINT64_C(1) << BUNDLE_AT_SHIFT) - 1));
        uint32_t at = (uint32_t)(reply->cookie >> BUNDLE_AT_SHIFT);
        if (likely(reply->heap == MESH_PIECE)) {
            bundle_piece(w, p, slice_of(reply + 1, reply->len));
        } else if (unlikely(at > 0) && reply->heap != MESH_NOTE) {
            answer_bundled(w, p, at - 1, reply);
        } else if (unlikely(reply->heap == MESH_LINES)) {
            monitor_show(w, slice_of(reply + 1, reply->len));
        } else if (unlikely(reply->heap == MESH_NOTE)) {
            take_note(w, p, (const struct mesh_note *)(const void *)(reply + 1));
        } else if (unlikely(reply->heap == MESH_VALUE)) {
            conn_deliver_value(w, p, blob_at((const uint8_t *)(reply + 1)));
        } else if (unlikely(reply->heap)) {
            const struct mesh_heap *heap = (const struct mesh_heap *)(const void *)(reply + 1);
            conn_deliver(w, p, NULL, heap->bytes, heap->bytes, heap->len);
        } else {
            conn_deliver(w, p, block, NULL, (const uint8_t *)(reply + 1), reply->len);
        }
    }
}
