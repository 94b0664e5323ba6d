// SPDX-License-Identifier: Apache-2.0
// The verbs: what each request consists of, queued or with its reply waited for.
#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

// ---- the way of every request

static int check_key(struct skerry_client *c, const void *key, size_t length)
{
    if (key == NULL && length > 0)
        return skc_error(c, SKERRY_CLIENT_INVALID, "key is NULL and %zu bytes long", length);
    return SKERRY_CLIENT_OK;
}

// A lane with room for the frame, or NULL and *status.
static struct lane *find_room(struct skerry_client *c, const struct wire_request *wire, uint64_t hash, uint64_t session_hash,
                              uint64_t length, int *status)
{
    struct lane *lane = wire->routed ? skc_lane_for(c, hash, session_hash) : &c->fanout;
    size_t waiting = lane != NULL ? skc_buffer_length(&lane->out) : 0;
    if (waiting > 0 && waiting + length > c->options.send_max && lane->state == LANE_READY) {
        skc_lane_send(lane, skc_now());
        waiting = skc_buffer_length(&lane->out);
    }
    if (waiting > 0 && waiting + length > c->options.send_max) {
        *status = skc_error(c, SKERRY_CLIENT_FULL, "%zu bytes wait to be sent, send_max is %zu: take replies first", waiting,
                            c->options.send_max);
        return NULL;
    }
    if (lane == NULL || skc_buffer_reserve(&lane->out, length) != 0) {
        *status = skc_error(c, SKERRY_CLIENT_MEMORY, "no memory for a request of %" PRIu64 " bytes within memory_max (%zu)", length,
                            c->memory.max);
        return NULL;
    }
    return lane;
}

int skc_queue(struct skerry_client *c, const struct wire_request *given, void *tag)
{
    struct wire_request wire = *given;
    skc_release(c);
    int status = check_key(c, wire.key.data, wire.key.length);
    if (status == SKERRY_CLIENT_OK && wire.value.data == NULL && wire.value.length > 0)
        status = skc_error(c, SKERRY_CLIENT_INVALID, "value is NULL and %zu bytes long", wire.value.length);
    if (status == SKERRY_CLIENT_OK)
        status = skc_ring_reserve(c);
    if (status != SKERRY_CLIENT_OK)
        return status;
    // The prefix is for shards, and for limbo, from where a request may go to one; the fanout port routes by itself.
    if (wire.routed && !skc_discovery_needed(c) && (!c->discovers || !c->topology.direct))
        wire.routed = false;
    if (!c->discovers)
        wire.routed = false;
    uint64_t length = skc_wire_length(&wire);
    uint64_t frame_max = c->known ? c->topology.frame_max : UINT32_MAX;
    if (length == 0 || length - WIRE_HEADER > frame_max)
        return skc_error(c, SKERRY_CLIENT_TOO_LARGE, "the request is larger than the server's frame_max (%" PRIu64 " bytes)", frame_max);
    uint64_t hash = 0, session_hash = 0;
    if (wire.routed) {
        hash = skerry_client_hash(wire.key.data, wire.key.length);
        session_hash = skerry_client_session_hash(wire.key.data, wire.key.length);
    }
    struct lane *lane = find_room(c, &wire, hash, session_hash, length, &status);
    if (lane == NULL)
        return status;
    unsigned char *frame = lane->out.data + lane->out.end;
    skc_wire_write(&wire, frame);
    if (wire.routed)
        skc_wire_set_shard(frame, lane->shard);
    struct request request = {
        .lane = lane,
        .tag = tag,
        .frame_length = length,
        .session_hash = session_hash,
        .deadline = c->options.request_timeout_ms < 0 ? NEVER : skc_now() + c->options.request_timeout_ms,
        .generation = c->generation,
        .opcode = wire.opcode,
        .state = REQUEST_QUEUED,
        .routed = wire.routed,
    };
    skc_ring_append(c, &request);
    skc_timer(c, request.deadline);
    return SKERRY_CLIENT_OK;
}

static int queue(struct skerry_client *c, const struct wire_request *wire, void *tag)
{
    int status = skc_queue(c, wire, tag);
    if (status == SKERRY_CLIENT_OK)
        skc_arm(c);
    return status;
}

int skc_blocking(struct skerry_client *c)
{
    skc_release(c);
    size_t count = skerry_client_outstanding(c);
    if (count == 0)
        return SKERRY_CLIENT_OK;
    return skc_error(c, SKERRY_CLIENT_BUSY, "%zu replies of queued requests have not been taken", count);
}

// A request that moved was not executed; one whose connection ended may be said again when it only reads.
static bool may_repeat(int status, bool reads)
{
    return status == SKERRY_CLIENT_MOVED || (reads && status == SKERRY_CLIENT_CLOSED);
}

int skc_call(struct skerry_client *c, const struct wire_request *wire, bool reads, const struct skerry_client_reply **reply)
{
    enum { TRIES = 4 };
    int64_t end = c->options.request_timeout_ms < 0 ? NEVER : skc_now() + c->options.request_timeout_ms;
    int status = skc_blocking(c);
    for (int i = 0; i < TRIES && status == SKERRY_CLIENT_OK; i++) {
        status = skc_queue(c, wire, NULL);
        if (status != SKERRY_CLIENT_OK)
            return status;
        status = skerry_client_wait(c, reply);
        if (status != SKERRY_CLIENT_OK || !may_repeat((*reply)->status, reads) || skc_now() >= end)
            break;
    }
    return status != SKERRY_CLIENT_OK ? status : (*reply)->status;
}

// ---- what each request consists of

#define BYTES(pointer, size) ((struct skerry_client_bytes){ (pointer), (size) })
#define KEYED(op, shape)     .opcode = WIRE_##op, .layout = WIRE_##shape, .routed = true, .key = { key, key_length }

static struct wire_request make_set(const void *key, size_t key_length, const void *value, size_t value_length, uint64_t ttl_ms)
{
    if (ttl_ms == 0)
        return (struct wire_request){ KEYED(SET, KEY_VALUE), .value = { value, value_length } };
    return (struct wire_request){ KEYED(SETEX, NUMBER_KEY_VALUE), .value = { value, value_length }, .number = ttl_ms };
}

static struct wire_request make_list(uint8_t opcode, const struct skerry_client_bytes *parts, size_t count)
{
    return (struct wire_request){ .opcode = opcode, .layout = WIRE_LIST, .parts = parts, .part_count = count };
}

static struct wire_request make_command(const struct skerry_client_bytes *argv, size_t argc, int keyed)
{
    struct wire_request wire = make_list(WIRE_RESP, argv, argc);
    wire.routed = keyed != 0 && argc > 1;
    if (wire.routed)
        wire.key = argv[1];
    return wire;
}

static struct wire_request make_raw(uint8_t opcode, const void *key, size_t key_length, const void *body, size_t body_length)
{
    return (struct wire_request){
        .opcode = opcode, .layout = WIRE_REST, .routed = key != NULL, .key = { key, key_length }, .value = { body, body_length }
    };
}

// SET key value PXAT unix_ms, in the caller's memory.
struct set_at {
    struct skerry_client_bytes argv[5];
    char number[24];
};

static struct wire_request make_set_at(struct set_at *at, const void *key, size_t key_length, const void *value, size_t value_length,
                                       uint64_t unix_ms)
{
    int digits = snprintf(at->number, sizeof at->number, "%" PRIu64, unix_ms);
    at->argv[0] = BYTES("SET", 3);
    at->argv[1] = BYTES(key, key_length);
    at->argv[2] = BYTES(value, value_length);
    at->argv[3] = BYTES("PXAT", 4);
    at->argv[4] = BYTES(at->number, (size_t)digits);
    return make_command(at->argv, 5, 1);
}

static int check_parts(struct skerry_client *c, const char *what, const struct skerry_client_bytes *parts, size_t count)
{
    if (count == 0)
        return skc_error(c, SKERRY_CLIENT_INVALID, "no %s", what);
    for (size_t i = 0; i < count; i++)
        if (parts[i].data == NULL && parts[i].length > 0)
            return skc_error(c, SKERRY_CLIENT_INVALID, "%s %zu is NULL and %zu bytes long", what, i, parts[i].length);
    return SKERRY_CLIENT_OK;
}

// ---- queued

int skerry_client_queue_get(struct skerry_client *c, const void *key, size_t key_length, void *tag)
{
    return queue(c, &(struct wire_request){ KEYED(GET, KEY) }, tag);
}

int skerry_client_queue_getex(struct skerry_client *c, const void *key, size_t key_length, uint64_t ttl_ms, void *tag)
{
    return queue(c, &(struct wire_request){ KEYED(GETEX, NUMBER_KEY), .number = ttl_ms }, tag);
}

int skerry_client_queue_set(struct skerry_client *c, const void *key, size_t key_length, const void *value, size_t value_length,
                            uint64_t ttl_ms, void *tag)
{
    struct wire_request wire = make_set(key, key_length, value, value_length, ttl_ms);
    return queue(c, &wire, tag);
}

int skerry_client_queue_set_at(struct skerry_client *c, const void *key, size_t key_length, const void *value, size_t value_length,
                               uint64_t unix_ms, void *tag)
{
    struct set_at at;
    struct wire_request wire = make_set_at(&at, key, key_length, value, value_length, unix_ms);
    return skerry_client_queue_command(c, at.argv, wire.part_count, 1, tag);
}

int skerry_client_queue_delete(struct skerry_client *c, const void *key, size_t key_length, void *tag)
{
    return queue(c, &(struct wire_request){ KEYED(DELETE, KEY) }, tag);
}

int skerry_client_queue_exists(struct skerry_client *c, const void *key, size_t key_length, void *tag)
{
    return queue(c, &(struct wire_request){ KEYED(EXISTS, KEY) }, tag);
}

int skerry_client_queue_ttl(struct skerry_client *c, const void *key, size_t key_length, void *tag)
{
    return queue(c, &(struct wire_request){ KEYED(TTL, KEY) }, tag);
}

int skerry_client_queue_expire(struct skerry_client *c, const void *key, size_t key_length, uint64_t ttl_ms, void *tag)
{
    return queue(c, &(struct wire_request){ KEYED(EXPIRE, NUMBER_KEY), .number = ttl_ms }, tag);
}

int skerry_client_queue_mget(struct skerry_client *c, const struct skerry_client_bytes *keys, size_t count, void *tag)
{
    int status = check_parts(c, "key", keys, count);
    struct wire_request wire = make_list(WIRE_MGET, keys, count);
    return status != SKERRY_CLIENT_OK ? status : queue(c, &wire, tag);
}

static struct wire_request make_mset(const struct skerry_client_bytes *keys, const struct skerry_client_bytes *values, size_t count)
{
    return (struct wire_request){ .opcode = WIRE_MSET, .layout = WIRE_PAIRS, .parts = keys, .values = values, .part_count = count };
}

int skerry_client_queue_mset(struct skerry_client *c, const struct skerry_client_bytes *keys, const struct skerry_client_bytes *values,
                             size_t count, void *tag)
{
    int status = check_parts(c, "key", keys, count);
    if (status == SKERRY_CLIENT_OK)
        status = check_parts(c, "value", values, count);
    struct wire_request wire = make_mset(keys, values, count);
    return status != SKERRY_CLIENT_OK ? status : queue(c, &wire, tag);
}

int skerry_client_queue_ping(struct skerry_client *c, const void *payload, size_t length, void *tag)
{
    return queue(c, &(struct wire_request){ .opcode = WIRE_PING, .layout = WIRE_REST, .value = { payload, length } }, tag);
}

int skerry_client_queue_command(struct skerry_client *c, const struct skerry_client_bytes *argv, size_t argc, int keyed, void *tag)
{
    int status = check_parts(c, "word", argv, argc);
    if (status != SKERRY_CLIENT_OK)
        return status;
    struct wire_request wire = make_command(argv, argc, keyed);
    return queue(c, &wire, tag);
}

int skerry_client_queue_request(struct skerry_client *c, uint8_t opcode, const void *key, size_t key_length, const void *body,
                                size_t body_length, void *tag)
{
    struct wire_request wire = make_raw(opcode, key, key_length, body, body_length);
    return queue(c, &wire, tag);
}

// ---- blocking

static int get_by(struct skerry_client *c, const struct wire_request *wire, bool reads, struct skerry_client_bytes *value)
{
    const struct skerry_client_reply *reply;
    *value = BYTES(NULL, 0);
    int status = skc_call(c, wire, reads, &reply);
    if (status == SKERRY_CLIENT_OK)
        *value = reply->bytes;
    return status;
}

static int integer_by(struct skerry_client *c, const struct wire_request *wire, bool reads, int64_t *integer)
{
    const struct skerry_client_reply *reply;
    *integer = 0;
    int status = skc_call(c, wire, reads, &reply);
    if (status == SKERRY_CLIENT_OK)
        *integer = reply->integer;
    return status;
}

static int yes_or_no(struct skerry_client *c, const struct wire_request *wire, bool reads)
{
    int64_t integer;
    int status = integer_by(c, wire, reads, &integer);
    return status == SKERRY_CLIENT_OK && integer == 0 ? SKERRY_CLIENT_MISSING : status;
}

int skerry_client_get(struct skerry_client *c, const void *key, size_t key_length, struct skerry_client_bytes *value)
{
    return get_by(c, &(struct wire_request){ KEYED(GET, KEY) }, true, value);
}

int skerry_client_get_copy(struct skerry_client *c, const void *key, size_t key_length, void *buffer, size_t capacity, size_t *length)
{
    struct skerry_client_bytes value;
    int status = skerry_client_get(c, key, key_length, &value);
    *length = value.length;
    if (status == SKERRY_CLIENT_OK && value.length > capacity)
        return skc_error(c, SKERRY_CLIENT_TOO_LARGE, "the value has %zu bytes, the buffer %zu", value.length, capacity);
    if (status == SKERRY_CLIENT_OK && value.length > 0)
        memcpy(buffer, value.data, value.length);
    return status;
}

int skerry_client_getex(struct skerry_client *c, const void *key, size_t key_length, uint64_t ttl_ms, struct skerry_client_bytes *value)
{
    return get_by(c, &(struct wire_request){ KEYED(GETEX, NUMBER_KEY), .number = ttl_ms }, false, value);
}

int skerry_client_set(struct skerry_client *c, const void *key, size_t key_length, const void *value, size_t value_length, uint64_t ttl_ms)
{
    const struct skerry_client_reply *reply;
    struct wire_request wire = make_set(key, key_length, value, value_length, ttl_ms);
    return skc_call(c, &wire, false, &reply);
}

int skerry_client_set_at(struct skerry_client *c, const void *key, size_t key_length, const void *value, size_t value_length,
                         uint64_t unix_ms)
{
    struct set_at at;
    struct skerry_client_bytes resp;
    struct skerry_client_resp piece;
    (void)make_set_at(&at, key, key_length, value, value_length, unix_ms);
    int status = skerry_client_command(c, at.argv, 5, 1, &resp);
    size_t cursor = 0;
    if (status != SKERRY_CLIENT_OK)
        return status;
    if (skerry_client_resp_next(resp, &cursor, &piece) != 1 || (piece.type != '+' && piece.type != '-'))
        return skc_error(c, SKERRY_CLIENT_PROTOCOL, "SET ... PXAT was answered with something else than a status or an error");
    if (piece.type == '-')
        return skc_error(c, SKERRY_CLIENT_SERVER, "%.*s", (int)(piece.bytes.length < 256 ? piece.bytes.length : 256),
                         (const char *)piece.bytes.data);
    return SKERRY_CLIENT_OK;
}

int skerry_client_delete(struct skerry_client *c, const void *key, size_t key_length)
{
    return yes_or_no(c, &(struct wire_request){ KEYED(DELETE, KEY) }, false);
}

int skerry_client_exists(struct skerry_client *c, const void *key, size_t key_length)
{
    return yes_or_no(c, &(struct wire_request){ KEYED(EXISTS, KEY) }, true);
}

int skerry_client_ttl(struct skerry_client *c, const void *key, size_t key_length, int64_t *seconds)
{
    int status = integer_by(c, &(struct wire_request){ KEYED(TTL, KEY) }, true, seconds);
    return status == SKERRY_CLIENT_OK && *seconds == -2 ? SKERRY_CLIENT_MISSING : status;
}

int skerry_client_expire(struct skerry_client *c, const void *key, size_t key_length, uint64_t ttl_ms)
{
    return yes_or_no(c, &(struct wire_request){ KEYED(EXPIRE, NUMBER_KEY), .number = ttl_ms }, false);
}

int skerry_client_mset(struct skerry_client *c, const struct skerry_client_bytes *keys, const struct skerry_client_bytes *values,
                       size_t count)
{
    const struct skerry_client_reply *reply;
    int status = check_parts(c, "key", keys, count);
    if (status == SKERRY_CLIENT_OK)
        status = check_parts(c, "value", values, count);
    if (status != SKERRY_CLIENT_OK)
        return status;
    struct wire_request wire = make_mset(keys, values, count);
    return skc_call(c, &wire, false, &reply);
}

int skerry_client_ping(struct skerry_client *c, const void *payload, size_t length)
{
    const struct skerry_client_reply *reply;
    struct wire_request wire = { .opcode = WIRE_PING, .layout = WIRE_REST, .value = { payload, length } };
    int status = skc_call(c, &wire, true, &reply);
    if (status != SKERRY_CLIENT_OK)
        return status;
    if (reply->bytes.length != length || (length > 0 && memcmp(reply->bytes.data, payload, length) != 0))
        return skc_error(c, SKERRY_CLIENT_PROTOCOL, "PING of %zu bytes was answered with %zu other ones", length, reply->bytes.length);
    return SKERRY_CLIENT_OK;
}

int skerry_client_command(struct skerry_client *c, const struct skerry_client_bytes *argv, size_t argc, int keyed,
                          struct skerry_client_bytes *resp)
{
    *resp = BYTES(NULL, 0);
    int status = check_parts(c, "word", argv, argc);
    if (status != SKERRY_CLIENT_OK)
        return status;
    struct wire_request wire = make_command(argv, argc, keyed);
    return get_by(c, &wire, false, resp);
}

int skerry_client_request(struct skerry_client *c, uint8_t opcode, const void *key, size_t key_length, const void *body, size_t body_length,
                          const struct skerry_client_reply **reply)
{
    *reply = NULL;
    struct wire_request wire = make_raw(opcode, key, key_length, body, body_length);
    return skc_call(c, &wire, false, reply);
}
