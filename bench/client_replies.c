// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench/client_internal.h"
#include "bench/fcnp_scan.h"

struct tally {
    uint64_t stamp_ns;
    uint64_t count; // replies to requests of this stamp, not yet recorded
};

static void tally_close(struct client *c, struct tally *t)
{
    if (t->count == 0 || !c->measuring)
        return;
    histogram_record(&c->measure.latency, c->now_ns - t->stamp_ns, t->count);
    c->measure.requests += t->count;
}

static inline void tally_take(struct client *c, struct tally *t, struct connection *conn)
{
    const struct request *r = &conn->slots[conn->first++ & c->slot_mask];
    conn->in_flight--;
    c->in_flight--;
    if (r->stamp_ns != t->stamp_ns) {
        tally_close(c, t);
        *t = (struct tally){ .stamp_ns = r->stamp_ns };
    }
    t->count++;
}

// A piece of a value: is it right for its key?
static void bytes_check(struct client *c, struct connection *conn)
{
    const struct workload *w = c->phase.workload;
    const struct request *r = &conn->slots[conn->first & c->slot_mask];
    const struct reply_scan *s = &conn->scan;
    enum op_kind kind = w->templates[r->template].kind;
    if (conn->in_flight == 0 || (kind != OP_GET && kind != OP_MGET))
        return;
    // A null within MGET is no bulk, so that positions shift: misses make such a reply uncheckable.
    uint64_t key = workload_key(w, r->key, s->bulks - 1);
    if (s->null && kind == OP_MGET)
        return;
    if (!workload_size_known(w, s->bulk_len) || !workload_value_matches(w, key, s->bulk_at, s->bytes.data, s->bytes.len))
        conn->reply_wrong = true;
}

static cold void reply_note(struct client *c, struct connection *conn)
{
    struct measure *m = &c->measure;
    if (c->measuring) {
        m->errors += conn->scan.error;
        m->misses += conn->scan.null && !conn->scan.error;
        m->wrong += conn->reply_wrong;
    }
    if (conn->scan.error && m->error_text[0] == '\0')
        memcpy(m->error_text, conn->scan.text, sizeof m->error_text);
    conn->reply_wrong = false;
}

// Says what came instead of a reply, in the words of a C string.
static cold int fail_bad(struct client *c, const struct connection *conn, const uint8_t *at, const uint8_t *end)
{
    char text[4 * 24 + 1] = "";
    size_t len = 0;
    at--; // the byte that was refused
    for (int i = 0; i < 24 && at + i < end; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, at[i] >= 0x20 && at[i] < 0x7f ? "%c" : "\\x%02x", at[i]);
    return client_fail(c, -EPROTO, "the server sent something that is not %s (%u requests in flight): \"%s\"",
                       c->options->protocol == PROTOCOL_FCNP ? "FCNP" : "RESP", conn->in_flight, text);
}

static int replies_take(struct client *c, struct connection *conn, const uint8_t *at, const uint8_t *end)
{
    const bool fcnp = c->options->protocol == PROTOCOL_FCNP;
    struct tally tally = { 0 };
    for (;;) {
        enum reply_event event = fcnp ? fcnp_scan_next(&conn->scan, &at, end) : reply_scan_next(&conn->scan, &at, end);
        if (event == REPLY_MORE)
            break;
        if (event == REPLY_BYTES) {
            bytes_check(c, conn);
            continue;
        }
        if (event == REPLY_BAD)
            return fail_bad(c, conn, at, end);
        if (conn->in_flight == 0)
            return client_fail(c, -EPROTO, "the server sent a reply that nobody asked for%s%s", conn->scan.error ? ": " : "",
                               conn->scan.error ? conn->scan.text : "");
        if (unlikely(conn->scan.error | conn->scan.null | conn->reply_wrong))
            reply_note(c, conn);
        tally_take(c, &tally, conn);
    }
    tally_close(c, &tally);
    return 0;
}

static int echoes_take(struct client *c, struct connection *conn, const uint8_t *at, uint64_t len)
{
    struct tally tally = { 0 };
    uint64_t message = c->options->sizes[0].bytes;
    while (len > 0) {
        uint64_t n = len < message - conn->echoed ? len : message - conn->echoed;
        if (c->options->verify && !workload_value_matches(c->phase.workload, 0, conn->echoed, at, n))
            conn->reply_wrong = true;
        at += n;
        len -= n;
        conn->echoed += n;
        if (conn->echoed < message)
            break;
        if (conn->in_flight == 0)
            return client_fail(c, -EPROTO, "the server sent more than it was sent");
        if (conn->reply_wrong)
            reply_note(c, conn);
        tally_take(c, &tally, conn);
        conn->echoed = 0;
    }
    tally_close(c, &tally);
    return 0;
}

int client_replies_take(struct client *c, struct connection *conn, const uint8_t *bytes, uint64_t len)
{
    bool raw = c->phase.workload->templates[0].kind == OP_ECHO;
    return raw ? echoes_take(c, conn, bytes, len) : replies_take(c, conn, bytes, bytes + len);
}
