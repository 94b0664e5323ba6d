// SPDX-License-Identifier: Apache-2.0
// Big arguments: their bytes go to the pages where they will stay, out of a receive buffer or from the socket.
#include <stdlib.h>

#include "engine/shard/session_inside.h"

void session_blobs_drop(struct conn *c)
{
    for (uint32_t i = 0; i < c->blobs_cap; i++)
        if (c->blobs[i] != NULL)
            c->blobs[i] = blob_free(c->blobs[i]);
}

void session_blobs_done(struct conn *c)
{
    session_blobs_drop(c);
    if (c->blobs_cap > 0)
        conn_charge(c);
}

static bool keep_blob(struct conn *c, uint32_t arg, struct blob *blob)
{
    if (arg >= c->blobs_cap) {
        uint32_t cap = arg < 8 ? 8 : arg * 2;
        struct blob **grown = realloc(c->blobs, cap * sizeof *grown);
        if (grown == NULL)
            return false;
        memset(grown + c->blobs_cap, 0, (cap - c->blobs_cap) * sizeof *grown);
        c->blobs = grown;
        c->blobs_cap = cap;
    }
    assert(c->blobs[arg] == NULL);
    c->blobs[arg] = blob;
    return true;
}

static void blob_complete(struct conn *c)
{
    struct blob *blob = c->blob;
    c->blob = NULL;
    blob_trim(blob); // at home, where that costs nothing
    if (session_in_frame(c))
        c->split_ready = true; // the value ends the frame
    else
        resp_big_done(&c->parser, blob->data);
    if (!keep_blob(c, c->blob_arg, blob)) {
        blob_free(blob);
        conn_close(c);
    }
}

size_t session_blobs_fill(struct conn *c, struct slice in)
{
    size_t taken = 0;
    while (c->blob_left > 0 && taken < in.len) {
        size_t want = in.len - taken < c->blob_left ? in.len - taken : (size_t)c->blob_left;
        size_t room = blob_reserve(c->blob, c->blob_left);
        if (room == 0) {
            conn_close(c);
            return in.len;
        }
        size_t n = room < want ? room : want;
        memcpy(c->blob->data + c->blob->len, in.data + taken, n);
        c->blob->len += n;
        c->blob_left -= n;
        taken += n;
    }
    c->worker->stats.bytes_copied += taken;
    if (c->blob_left == 0)
        blob_complete(c);
    return taken;
}

void session_blob_received(struct conn *c, uint64_t len)
{
    assert(c->blob != NULL && len <= c->blob_left);
    c->blob->len += len;
    c->blob_left -= len;
    if (c->blob_left > 0)
        return;
    blob_complete(c);
    if (c->split_ready && conn_runs(c))
        session_frames_run_split(c);
}

bool session_blobs_start(struct conn *c)
{
    c->blob = blob_new(store_blobs(c->worker->store));
    if (c->blob == NULL) {
        conn_close(c);
        return false;
    }
    c->blob_left = c->parser.big_len;
    c->blob_arg = c->parser.args_seen;
    if (session_in_frame(c)) {
        size_t head;
        int rc = fcnp_head(&c->worker->native, buf_view(&c->carry), &head, &c->blob_left);
        assert(rc == FCNP_READY && head == c->carry.len);
        c->blob_arg = c->carry.data[2] == FCNP_SET ? 2 : 3; // SET key value, PSETEX key ms value
    }
    return true;
}
