// SPDX-License-Identifier: Apache-2.0
// How a command function is called, inline for the two places that call one per request: run.c and forward.c.
#pragma once

#include "engine/shard/gate.h"
#include "engine/shard/run.h"

// The one place where a command function is called.
// `has_room`: somebody has asked for it already.
static inline void run_call_now(struct worker *w, struct call *call, bool has_room)
{
    struct reply *reply = call->reply;
    struct command_stats *stats = &w->commands[command_index(call->command)];
    w->stats.commands++;
    if (unlikely(w->options.maxmemory > 0) && (call->command->flags & CMD_DENYOOM) != 0 && !has_room && !worker_make_room(w)) {
        stats->rejected++;
        w->stats.rejected_calls++;
        reply_error(reply, REPLY_OUT_OF_MEMORY);
    } else {
        if (unlikely(call->no_touch))
            store_set_touching(call->store, false);
        call->command->run(call);
        if (unlikely(call->no_touch))
            store_set_touching(call->store, true);
        stats->calls++;
        stats->failed += reply->errors;
    }
    if (unlikely(reply->errors > 0))
        run_count_error(w, reply);
}

// Where changes are logged: what the reply has to wait for, too. `granted`: in a transaction, which has asked for room.
static inline void run_call(struct worker *w, struct call *call, bool granted)
{
    if (unlikely(w->gated))
        gate_run(w, call, granted);
    else
        run_call_now(w, call, granted);
}

static inline struct call call_on(struct worker *w, struct reply *reply, uint32_t db)
{
    return (struct call){
        .reply = reply,
        .store = w->store,
        .route = &w->route,
        .db = db,
        .now_ms = w->now_ms,
        .prng = &w->prng,
        .bulk_max = w->options.proto_max_bulk_len,
        .worker = w,
    };
}
