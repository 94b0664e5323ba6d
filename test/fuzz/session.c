// SPDX-License-Identifier: Apache-2.0
// A whole session: a script of RESP commands, FCNP frames and raw bytes goes over one connection of a worker with a real store, in the
// simulated world. Replies must be a sequence of whole replies of either protocol, what the connection holds stays bounded, and however
// the bytes were cut, they are answered alike.
//
//   byte 0   bits 0-1: shards; bit 2: index-hash public; bit 3: the connection is at shard 0's own port; bit 4: a password is set
//   byte 1   seed of the cuts
//   then     operations: low two bits 0 raw bytes or the last operation again, 1 a RESP command, 2 and 3 a frame; the next bytes say which
#include <stdlib.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "engine/shard/conn.h"
#include "engine/shard/worker.h"
#include "proto/fcnp_reply.h"
#include "reactor/clock.h"
#include "reactor/memory.h"
#include "test/sim/resp_reader.h"
#include "test/sim/world.h"

#define BULK_MAX   (256 * 1024)
#define STREAM_MAX (512 * 1024)
#define TURNS_MAX  5000
#define LARGE      70000 // bytes of a value that is received into its pages

static const char *const WORDS[] = {
    "GET",      "SET",   "a",     "b",      "c",        "key:1",     "key:2",  "",       "0",      "1",        "-1",
    "100000",   "DEL",   "MULTI", "EXEC",   "DISCARD",  "WATCH",     "MGET",   "MSET",   "APPEND", "SETRANGE", "INCR",
    "EXPIRE",   "PX",    "EX",    "PING",   "HELLO",    "2",         "3",      "CLIENT", "REPLY",  "OFF",      "ON",
    "SKIP",     "PAUSE", "KILL",  "SELECT", "QUIT",     "RESET",     "AUTH",   "secret", "SCAN",   "STRLEN",   "GETDEL",
    "UNLINK",   "*",     "KEYS",  "TTL",    "FLUSHALL", "MONITOR",   "INFO",   "TYPE",   "OBJECT", "ENCODING", "COMMAND",
    "GETRANGE", "NX",    "XX",    "SETNX",  "GETEX",    "RANDOMKEY", "EXISTS", "ECHO",   "SWAPDB", "COPY",     "RENAME",
};
#define WORD_COUNT (sizeof WORDS / sizeof WORDS[0])

static const char *const WIRES[256] = {
#define FCNP_OP(number, name, word, subword, wire, order, reply) [number] = wire,
#include "proto/fcnp.def"
#undef FCNP_OP
};

// ---- the script

struct script {
    const uint8_t *at, *end;
    struct buf stream;
    uint32_t shards;
    bool large; // has been used
};

static uint8_t next(struct script *s)
{
    return s->at < s->end ? *s->at++ : 0;
}

static struct slice operand(struct script *s)
{
    static uint8_t large[LARGE], medium[500];
    static const char *const KEYS[] = { "key:1", "key:2", "key:10", "a" };
    uint8_t which = next(s);
    if (which < 100)
        return slice_cstr(KEYS[which % 4]);
    if (which < 250)
        return slice_cstr(WORDS[which % WORD_COUNT]);
    if (which == 250 && !s->large) {
        s->large = true;
        return slice_of(large, sizeof large);
    }
    return slice_of(medium, (size_t)(which & 3) * 160);
}

static void put_u32(struct buf *b, uint64_t value)
{
    uint32_t v = (uint32_t)value;
    buf_append(b, &v, sizeof v);
}

static void put_u64(struct buf *b, uint64_t value)
{
    buf_append(b, &value, sizeof value);
}

static void put_text(struct buf *b, struct slice s)
{
    put_u32(b, s.len);
    buf_append_slice(b, s);
}

static void put_list(struct script *s, struct buf *body, bool pairs, struct slice *first)
{
    uint32_t count = next(s) % 5;
    put_u32(body, count);
    for (uint32_t i = 0; i < count; i++) {
        struct slice key = operand(s);
        if (i == 0 && first->data == NULL)
            *first = key;
        if (!pairs) {
            put_text(body, key);
            continue;
        }
        struct slice value = operand(s);
        put_u32(body, key.len);
        put_u32(body, value.len);
        buf_append_slice(body, key);
        buf_append_slice(body, value);
    }
}

// The operands of an opcode by its wire (proto/fcnp.def). Returns the first one that has bytes.
static struct slice put_operands(struct script *s, struct buf *body, const char *wire)
{
    struct slice values[3] = { { 0 } }, first = { 0 };
    uint32_t lengths = 0, used = 0;
    for (; *wire != '\0'; wire++) {
        switch (*wire) {
        case 'L':
            values[lengths] = operand(s);
            put_u32(body, values[lengths++].len);
            break;
        case 'B':
            if (first.data == NULL)
                first = values[used];
            buf_append_slice(body, values[used++]);
            break;
        case 'S':
        case '~': {
            struct slice value = operand(s);
            if (first.data == NULL)
                first = value;
            if (*wire == 'S')
                put_text(body, value);
            else
                buf_append_slice(body, value);
            break;
        }
        case '*':
        case '#':
            put_list(s, body, *wire == '#', &first);
            break;
        case '?':
            if (next(s) & 1)
                return first;
            break;
        default:
            put_u64(body, next(s) * UINT64_C(37));
            break;
        }
    }
    return first;
}

static void put_frame(struct script *s, uint8_t opcode)
{
    uint8_t flags = next(s), wrong = next(s);
    struct buf body, *out = &s->stream;
    buf_init(&body, BUF_NO_LIMIT);
    struct slice key = put_operands(s, &body, WIRES[opcode] != NULL ? WIRES[opcode] : "S");
    struct route route;
    route_init(&route, s->shards, ROUTE_FULL_KEY);
    uint64_t hash = hash_route(key) ^ (wrong == 1);
    flags = flags < 160 ? (const uint8_t[]){ 0, FCNP_HASH, FCNP_FLAGS, FCNP_FLAGS }[flags & 3] : flags < 250 ? flags & 7 : flags;
    size_t start = out->len, prefix = FCNP_PREFIX_LEN[flags & 7];
    uint8_t head[4] = { FCNP_MAGIC, FCNP_VERSION, opcode, flags };
    buf_append(out, head, 4);
    put_u32(out, prefix + body.len);
    if (flags & FCNP_HASH)
        put_u64(out, hash);
    if (flags & FCNP_SHARD)
        put_u32(out, route_shard_of_hash(&route, hash) ^ (wrong == 2));
    if (flags & FCNP_TAG)
        put_u64(out, (hash >> 56) ^ (wrong == 3));
    buf_append_slice(out, buf_view(&body));
    if (wrong >= 4 && wrong < 12)
        out->data[start + next(s) % (out->len - start)] ^= (uint8_t)(1 << (wrong - 4));
    if (wrong == 12)
        out->len -= next(s) % (out->len - start);
    buf_deinit(&body);
}

static void put_command(struct script *s, uint32_t argc)
{
    buf_format(&s->stream, "*%u\r\n", argc);
    for (uint32_t i = 0; i < argc; i++) {
        struct slice word = operand(s);
        buf_format(&s->stream, "$%zu\r\n", word.len);
        buf_append_slice(&s->stream, word);
        buf_append(&s->stream, "\r\n", 2);
    }
}

static void put_raw(struct script *s, uint8_t count)
{
    for (; count > 0 && s->at < s->end; count--)
        buf_append(&s->stream, s->at++, 1);
}

static void again(struct script *s, size_t from, uint32_t times)
{
    struct buf *out = &s->stream;
    size_t len = out->len - from;
    for (; len > 0 && times > 0 && out->len < STREAM_MAX; times--) {
        if (buf_reserve(out, len) == NULL)
            return;
        memcpy(out->data + out->len, out->data + from, len);
        buf_advance(out, len);
    }
}

static void write_stream(struct script *s)
{
    size_t last = 0, before;
    for (; s->at < s->end && s->stream.len < STREAM_MAX; last = before) {
        uint8_t op = next(s);
        before = s->stream.len;
        if ((op & 3) == 0 && op < 32) // the last one again
            again(s, last, 1 + (op >> 2));
        else if ((op & 3) == 0)
            put_raw(s, op >> 2);
        else if ((op & 3) == 1)
            put_command(s, 1 + (op >> 2) % 6);
        else
            put_frame(s, (op & 4) != 0 ? FCNP_GET + (op >> 3 & 1) : (op & 8) != 0 ? next(s) : FCNP_GET + (op >> 4) % 11);
    }
}

// ---- the server and its one client

struct session {
    struct world world;
    struct server server;
    struct server_host host;
    struct worker *workers[1];
    struct reactor *reactor;
    struct socket *socket;
    struct buf got;
    uint64_t memory_max;
    bool running, ended;
};

static void stop_requested(struct server *server)
{
}

static void begin(struct session *s, uint8_t setup, uint32_t shards, uint64_t stream_len)
{
    struct world_knobs knobs = { .net.segment_max = STREAM_MAX, .buffers = 64, .buffer_size = 4096 };
    *s = (struct session){ .running = true, .memory_max = (4 << 20) + stream_len / 4 * BULK_MAX };
    world_init(&s->world, &knobs, 1);
    struct options *o = &s->server.options;
    options_init(o);
    o->proto_max_bulk_len = BULK_MAX;
    o->databases = 4; // what the words can choose, and those that they cannot
    o->index_hash = (setup & 4) != 0;
    if (setup & 16) {
        free(o->requirepass);
        o->requirepass = strdup("secret");
    }
    s->host = (struct server_host){ .stop_requested = stop_requested, .os = "", .compiler = "", .allocator = "", .pid = 1 };
    s->server.host = &s->host;
    s->server.executable = s->server.config_file = "";
    s->server.started_ns = s->world.now_ns;
    s->server.started_wall_ms = world_wall_ms(&s->world);
    s->server.worker_count = 1;
    s->server.workers = s->workers;
    route_init(&s->server.route, shards, ROUTE_FULL_KEY);
    s->server.rings = mesh_rings_new(1);
    s->reactor = world_reactor_new(&s->world);
    struct hash_secret secret = { 1, 2 };
    int rc = worker_new(&s->workers[0], &s->server, 0, s->reactor, memory_system(-1, MEMORY_HUGE_OFF), 1, &secret);
    assert(rc == 0);
    int fd = net_listen(&s->world.net);
    rc = (setup & 8) != 0 && worker_reserve_listeners(s->workers[0], 1) == 0 ? worker_listen_direct(s->workers[0], fd, 0)
                                                                             : worker_listen(s->workers[0], fd, 0);
    assert(rc == 0);
    buf_init(&s->got, BUF_NO_LIMIT);
    s->socket = socket_connect(&s->world.net, fd, STREAM_MAX * 2, SIM_UNLIMITED);
    assert(s->socket != NULL);
}

static void end(struct session *s)
{
    socket_close(&s->world.net, s->socket, true);
    atomic_store(&s->server.stop, SERVER_STOPS_NOW);
    for (int i = 0; s->running && i < TURNS_MAX; i++) {
        s->world.now_ns += NS_PER_MS;
        s->running = worker_turn(s->workers[0]);
    }
    assert(!s->running);
    worker_free(s->workers[0]);
    reactor_close_all(s->reactor);
    mesh_rings_free(s->server.rings);
    options_deinit(&s->server.options);
    world_deinit(&s->world);
    buf_deinit(&s->got);
}

static void take_replies(struct session *s)
{
    uint8_t bytes[65536];
    size_t there; // also what a reset would take away
    while ((there = pipe_arrived(&s->socket->out, s->world.now_ns)) > 0) {
        size_t n = there < sizeof bytes ? there : sizeof bytes;
        pipe_take(&s->socket->out, bytes, n);
        buf_append(&s->got, bytes, n);
    }
    s->ended |= socket_read(&s->world.net, s->socket, bytes, 1) < 0;
}

// Until the worker has nothing more to do. The clock stands still, so that whatever a session is told of time is always the same.
static void work(struct session *s)
{
    for (int i = 0; s->running && i < TURNS_MAX && world_awake(&s->world, 0); i++) {
        s->running = worker_turn(s->workers[0]);
        list_for_each (node, &s->workers[0]->conns)
            assert(conn_memory(container_of(node, struct conn, link)) <= s->memory_max);
        take_replies(s);
    }
    assert(s->world.failure[0] == '\0');
}

static void run(struct session *s, struct slice stream, struct prng *cuts)
{
    work(s);
    while (stream.len > 0 && !s->ended) {
        size_t piece = stream.len;
        if (cuts != NULL)
            piece = 1 + prng_below(cuts, prng_below(cuts, 4) == 0 ? stream.len : 40 + stream.len / 64);
        if (piece > stream.len)
            piece = stream.len;
        size_t written = socket_write(&s->world.net, s->socket, stream.data, piece);
        work(s);
        if (written == 0)
            break; // it does not read on (CLIENT PAUSE, replies that nobody may get)
        stream = slice_of(stream.data + written, stream.len - written);
    }
    if (!s->ended)
        socket_finish(&s->world.net, s->socket);
    work(s);
    work(s);
}

// ---- replies

static bool frame_is_sound(struct slice body, uint8_t status)
{
    switch (status) {
    case FCNP_OK:
    case FCNP_NULL:
        return body.len == 0;
    case FCNP_INTEGER:
    case FCNP_FLOAT:
        return body.len == 8;
    case FCNP_BOOLEAN:
        return body.len == 1 && body.data[0] <= 1;
    case FCNP_ERROR:
    case FCNP_VALUE:
        return true;
    case FCNP_ARRAY:
        break;
    default:
        return false;
    }
    if (body.len < 4)
        return false;
    size_t at = 4;
    for (uint32_t left = load_u32(body.data); left > 0; left--) {
        if (body.len - at < 4)
            return false;
        uint32_t len = load_u32(body.data + at);
        at += 4;
        if (len == FCNP_NULL_ITEM)
            continue;
        if (body.len - at < len)
            return false;
        at += len;
    }
    return at == body.len;
}

// Length of the whole reply at the beginning, 0 when it is cut.
static size_t reply_length(struct slice in)
{
    if (in.data[0] != FCNP_REPLY_MAGIC) {
        long len = reader_length(in);
        assert(len != READER_BAD);
        return (size_t)len;
    }
    if (in.len < FCNP_HEADER)
        return 0;
    size_t len = FCNP_HEADER + (size_t)load_u32(in.data + 4);
    assert(in.data[1] == FCNP_VERSION && in.data[3] == 0);
    if (in.len < len)
        return 0;
    assert(frame_is_sound(slice_of(in.data + FCNP_HEADER, len - FCNP_HEADER), in.data[2]));
    return len;
}

static void check_replies(const struct session *s)
{
    struct slice rest = buf_view(&s->got);
    while (rest.len > 0) {
        size_t len = reply_length(rest);
        if (len == 0)
            break;
        rest = slice_of(rest.data + len, rest.len - len);
    }
    assert(rest.len == 0);
}

// What is answered with counters, or depends on how much came at once, is not to be compared. Looks at every byte, so it is worth a table
// of what may begin something, and the fuzzer learns nothing from its comparisons.
static __attribute__((no_sanitize("coverage"))) bool comparable(struct slice stream)
{
    static const char *const WITHOUT[] = { "info", "list", "memory", "log", "latency", "debug", "monitor", "config", "trac", "shutdown" };
    static bool begins[256];
    begins[FCNP_MAGIC] = true;
    for (size_t i = 0; i < sizeof WITHOUT / sizeof WITHOUT[0]; i++)
        begins[(uint8_t)WITHOUT[i][0]] = begins[(uint8_t)WITHOUT[i][0] ^ 0x20] = true;
    for (size_t at = 0; at + 4 <= stream.len; at++) {
        const uint8_t *p = stream.data + at;
        if (!begins[p[0]])
            continue;
        if (p[0] == FCNP_MAGIC && (p[2] == FCNP_INFO || p[2] == FCNP_CLIENT_LIST || p[2] == FCNP_CONFIG_GET))
            return false;
        for (size_t i = 0; i < sizeof WITHOUT / sizeof WITHOUT[0]; i++) {
            size_t len = strlen(WITHOUT[i]);
            if (len <= stream.len - at && strncasecmp((const char *)p, WITHOUT[i], len) == 0)
                return false;
        }
    }
    return true;
}

// A wrong hash is refused when it is noticed, and need not be where the key is found; how much comes at once decides that.
static bool noticed_hash(const struct session *s)
{
    static const char TEXT[] = "ERR FCNP key hash mismatch";
    return s->got.len > 0 && memmem(s->got.data, s->got.len, TEXT, sizeof TEXT - 1) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3 || size > 4096)
        return 0;
    struct script script = { .at = data + 2, .end = data + size, .shards = 1u << (data[0] & 3) };
    buf_init(&script.stream, BUF_NO_LIMIT);
    write_stream(&script);
    struct slice stream = buf_view(&script.stream);
    struct session cut, whole;
    struct prng cuts;
    prng_init(&cuts, data[1]);
    begin(&cut, data[0], script.shards, stream.len);
    run(&cut, stream, &cuts);
    check_replies(&cut);
    if (comparable(stream)) {
        begin(&whole, data[0], script.shards, stream.len);
        run(&whole, stream, NULL);
        assert(slice_equal(buf_view(&cut.got), buf_view(&whole.got)) || noticed_hash(&cut) || noticed_hash(&whole));
        end(&whole);
    }
    end(&cut);
    buf_deinit(&script.stream);
    return 0;
}
