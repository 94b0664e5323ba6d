// SPDX-License-Identifier: Apache-2.0
// Compares a reply with what had to come.
#include <inttypes.h>
#include <stdio.h>

#include "base/hash.h"
#include "test/sim/client.h"
#include "test/sim/resp_reader.h"

static void wrong(struct client_sim *c, const struct expect *e, struct slice got, const char *want)
{
    int n = got.len < 60 ? (int)got.len : 60;
    char shown[64];
    for (int i = 0; i < n; i++)
        shown[i] = got.data[i] >= ' ' && got.data[i] < 0x7f ? (char)got.data[i] : '.';
    shown[n] = '\0';
    world_fail(sim_world(c->sim), "client %u: %s answered \"%s\" (%zu bytes) instead of %s", c->id, e->command, shown, got.len, want);
}

static void wrong_number(struct client_sim *c, const struct expect *e, struct slice got)
{
    char want[64];
    if (e->low == e->high)
        snprintf(want, sizeof want, "%" PRId64, e->low);
    else
        snprintf(want, sizeof want, "%" PRId64 " to %" PRId64, e->low, e->high);
    wrong(c, e, got, want);
}

static bool holds(const struct reader *r, const struct value *v)
{
    return v == NULL ? reader_is_null(r) : reader_is_string(r) && value_is(v, r->body);
}

static size_t agreement(struct slice a, struct slice b)
{
    size_t i = 0;
    while (i < a.len && i < b.len && a.data[i] == b.data[i])
        i++;
    return i;
}

static void check_bulk(struct client_sim *c, struct expect *e, struct slice bytes)
{
    struct reader r = reader_open(bytes);
    for (uint32_t i = 0; i < e->value_count; i++)
        if (holds(&r, e->values[i]))
            return;
    char want[96];
    const struct value *v = e->values[0];
    snprintf(want, sizeof want, "%s%.4s.. (%zu bytes)%s; they agree up to byte %zu", v == NULL ? "null" : "",
             v != NULL && v->len >= 4 ? (const char *)v->bytes : "", v != NULL ? v->len : 0, e->value_count > 1 ? " or others" : "",
             agreement(value_view(v), r.body));
    wrong(c, e, bytes, want);
}

static void check_bulks(struct client_sim *c, struct expect *e, struct slice bytes)
{
    struct reader whole = reader_open(bytes);
    if (whole.mark != '*' || whole.number != (int64_t)e->value_count) {
        wrong(c, e, bytes, "an array of its keys");
        return;
    }
    size_t at = whole.used;
    for (uint32_t i = 0; i < e->value_count; i++) {
        struct reader r = reader_open(slice_of(bytes.data + at, bytes.len - at));
        if (!holds(&r, e->values[i])) {
            wrong(c, e, slice_of(bytes.data + at, bytes.len - at), "the value of one of its keys");
            return;
        }
        at += r.used;
    }
}

// ---- keys with deadlines

#define SLACK_MS 1 // a deadline is reached at its millisecond or behind it

// The key was, or was not, there when the command ran: between `from` and `to`. False: it can't have been.
static bool timed_seen(struct key *k, bool there, int64_t from, int64_t to)
{
    if (k->value == NULL)
        return !there;
    if (!k->has_deadline)
        return there;
    if (there) {
        if (from > k->deadline_high + SLACK_MS)
            return false;
        if (from > k->deadline_low)
            k->deadline_low = from < k->deadline_high ? from : k->deadline_high;
        return true;
    }
    if (to < k->deadline_low - SLACK_MS)
        return false;
    k->value = value_drop(k->value);
    k->has_deadline = false;
    return true;
}

static void set_deadline(struct key *k, int64_t low, int64_t high)
{
    k->has_deadline = true;
    k->deadline_low = low;
    k->deadline_high = high;
}

static bool timed_ttl(struct key *k, int64_t ttl, int64_t from, int64_t to)
{
    if (ttl == -2)
        return timed_seen(k, false, from, to);
    if (!timed_seen(k, true, from, to) || k->value == NULL)
        return false;
    if (ttl == -1)
        return !k->has_deadline;
    int64_t low = from + ttl, high = to + ttl;
    if (!k->has_deadline || high < k->deadline_low - SLACK_MS || low > k->deadline_high + SLACK_MS)
        return false;
    low = low > k->deadline_low ? low : k->deadline_low;
    high = high < k->deadline_high ? high : k->deadline_high;
    set_deadline(k, low < high ? low : high, low < high ? high : low);
    return true;
}

static bool timed_number(struct key *k, const struct expect *e, int64_t number, int64_t to)
{
    switch ((enum timed_kind)e->timed) {
    case TIMED_TTL:
        return timed_ttl(k, number, e->queued_ms, to);
    case TIMED_EXPIRE:
        if (!timed_seen(k, number == 1, e->queued_ms, to))
            return false;
        if (number == 1)
            set_deadline(k, e->queued_ms + e->ms, to + e->ms);
        return number == 0 || number == 1;
    case TIMED_PERSIST:
        if (number == 1 && (!k->has_deadline || !timed_seen(k, true, e->queued_ms, to)))
            return false;
        if (number == 0 && k->value != NULL && k->has_deadline && !timed_seen(k, false, e->queued_ms, to))
            return false;
        k->has_deadline = false;
        return true;
    case TIMED_DEL:
        if (!timed_seen(k, number == 1, e->queued_ms, to))
            return false;
        k->value = value_drop(k->value);
        k->has_deadline = false;
        return true;
    case TIMED_EXISTS:
        return timed_seen(k, number == 1, e->queued_ms, to);
    case TIMED_GET:
    case TIMED_SET:
        break;
    }
    return false;
}

static void check_timed(struct client_sim *c, struct expect *e, struct slice bytes)
{
    struct reader r = reader_open(bytes);
    struct key *k = e->key;
    int64_t now = world_wall_ms(sim_world(c->sim));
    bool good;
    k->busy = false;
    if (e->timed == TIMED_SET) {
        good = slice_equal(bytes, slice_cstr("+OK\r\n"));
        value_drop(k->value);
        k->value = value_hold(e->values[0]);
        set_deadline(k, e->queued_ms + e->ms, now + e->ms);
    } else if (e->timed == TIMED_GET) {
        good = reader_is_null(&r) ? timed_seen(k, false, e->queued_ms, now)
                                  : holds(&r, k->value) && k->value != NULL && timed_seen(k, true, e->queued_ms, now);
    } else {
        good = r.mark == ':' && timed_number(k, e, r.number, now);
    }
    if (good)
        return;
    char want[128];
    snprintf(want, sizeof want, "what key %s allows (deadline %" PRId64 " to %" PRId64 ", ran %" PRId64 " to %" PRId64 ")", k->name,
             k->has_deadline ? k->deadline_low : 0, k->has_deadline ? k->deadline_high : 0, e->queued_ms, now);
    wrong(c, e, bytes, want);
}

// ---- scans

static bool is_mine(const struct client_sim *c, struct slice name)
{
    char prefix[16];
    int n = snprintf(prefix, sizeof prefix, "c%u", c->id);
    return name.len > (size_t)n + 1 && memcmp(name.data, prefix, (size_t)n) == 0 && (name.data[n] == ':' || name.data[n] == 't');
}

static void mark_seen(struct client_sim *c, struct slice name)
{
    for (uint32_t i = 0; i < c->key_count; i++)
        if (c->keys[i].db == c->scan_db && slice_equal(slice_cstr(c->keys[i].name), name))
            c->keys[i].scan_seen = true;
}

static void scan_over(struct client_sim *c, struct expect *e, struct slice bytes)
{
    c->scanning = false;
    for (uint32_t i = 0; i < c->key_count; i++) {
        struct key *k = &c->keys[i];
        if (!k->scan_due || k->scan_seen || k->db != c->scan_db)
            continue;
        char want[96];
        snprintf(want, sizeof want, "a last page after key %s, which was there throughout", k->name);
        wrong(c, e, bytes, want);
        return;
    }
}

static void check_scan(struct client_sim *c, struct expect *e, struct slice bytes)
{
    struct reader whole = reader_open(bytes);
    c->scan_waits = false;
    if (whole.mark != '*' || whole.number != 2) {
        wrong(c, e, bytes, "a cursor and keys");
        return;
    }
    size_t at = whole.used;
    struct reader cursor = reader_open(slice_of(bytes.data + at, bytes.len - at));
    at += cursor.used;
    struct reader list = reader_open(slice_of(bytes.data + at, bytes.len - at));
    at += list.used;
    if (!reader_is_string(&cursor) || cursor.body.len == 0 || cursor.body.len > 20 || list.mark != '*') {
        wrong(c, e, bytes, "a cursor and keys");
        return;
    }
    for (int64_t i = 0; i < list.number; i++) {
        struct reader name = reader_open(slice_of(bytes.data + at, bytes.len - at));
        if (!is_mine(c, name.body)) {
            wrong(c, e, name.body, "keys of this client alone");
            return;
        }
        mark_seen(c, name.body);
        at += name.used;
    }
    snprintf(c->scan_cursor, sizeof c->scan_cursor, "%.*s", (int)cursor.body.len, (const char *)cursor.body.data);
    if (strcmp(c->scan_cursor, "0") == 0)
        scan_over(c, e, bytes);
}

static void check_keys(struct client_sim *c, struct expect *e, struct slice bytes)
{
    struct reader whole = reader_open(bytes);
    uint64_t hash = 0;
    size_t at = whole.used;
    for (int64_t i = 0; whole.mark == '*' && i < whole.number; i++) {
        struct reader name = reader_open(slice_of(bytes.data + at, bytes.len - at));
        hash += XXH3_64bits(name.body.data, name.body.len);
        at += name.used;
    }
    bool exact = e->low == 0;
    if (whole.mark != '*' || whole.number < e->names || whole.number > e->names + e->low || (exact && hash != e->names_hash)) {
        char want[64];
        snprintf(want, sizeof want, "the %u keys of its database", e->names);
        wrong(c, e, bytes, want);
    }
}

// ----

// Only that there is one, and that the client goes on.
static void uncompared(struct client_sim *c, struct expect *e)
{
    if (e->key != NULL)
        e->key->busy = false;
    if (e->kind == EXPECT_SCAN)
        c->scanning = c->scan_waits = false;
}

void check_reply(struct client_sim *c, struct expect *e, struct slice bytes)
{
    struct reader r = reader_open(bytes);
    world_trace(sim_world(c->sim), XXH3_64bits(bytes.data, bytes.len) ^ c->id);
    if (!sim_compares(c->sim)) {
        uncompared(c, e);
        return;
    }
    switch ((enum expect_kind)e->kind) {
    case EXPECT_TEXT:
        if (!slice_equal(bytes, slice_cstr(e->text)))
            wrong(c, e, bytes, e->text);
        break;
    case EXPECT_PREFIX:
        if (bytes.len < strlen(e->text) || memcmp(bytes.data, e->text, strlen(e->text)) != 0)
            wrong(c, e, bytes, e->text);
        break;
    case EXPECT_BULK:
        check_bulk(c, e, bytes);
        break;
    case EXPECT_BULKS:
        check_bulks(c, e, bytes);
        break;
    case EXPECT_INTEGER:
        if (r.mark != ':' || r.number < e->low || r.number > e->high)
            wrong_number(c, e, bytes);
        break;
    case EXPECT_COUNTER:
        if (r.mark != ':')
            wrong(c, e, bytes, "a number");
        else if (e->high == 1)
            sim_counter_read(c->sim, c, e->counter, r.number);
        else
            sim_counter_got(c->sim, c, e->counter, r.number);
        break;
    case EXPECT_TIMED:
        check_timed(c, e, bytes);
        break;
    case EXPECT_SCAN:
        check_scan(c, e, bytes);
        break;
    case EXPECT_KEYS:
        check_keys(c, e, bytes);
        break;
    case EXPECT_GROUP:
    case EXPECT_GROUP_COUNT:
    case EXPECT_GROUP_VALUE: {
        const char *want = group_check((enum expect_kind)e->kind, bytes);
        if (want[0] != '\0')
            wrong(c, e, bytes, want);
        break;
    }
    case EXPECT_ANY:
        if (r.mark == '-')
            wrong(c, e, bytes, "no error");
        break;
    }
}
