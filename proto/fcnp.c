// SPDX-License-Identifier: Apache-2.0
#include "proto/fcnp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

struct op {
    const char *words[2];
    const char *wire;
    const char *order;
    uint8_t shape;
};

// A missing opcode has no wire.
static const struct op OPS[256] = {
#define FCNP_OP(number, name, word, subword, wire, order, reply) [number] = { { word, subword }, wire, order, reply },
#include "proto/fcnp.def"
#undef FCNP_OP
};

// A body being taken apart. Once something is missing, `cut` is set and everything reads as empty.
struct body {
    const uint8_t *at, *end;
    bool cut;
};

void fcnp_init(struct fcnp *p, const struct fcnp_limits *limits)
{
    *p = (struct fcnp){ .limits = *limits };
}

void fcnp_deinit(struct fcnp *p)
{
    free(p->argv);
    *p = (struct fcnp){ .limits = p->limits };
}

static cold int fail(struct fcnp *p, const char *why)
{
    snprintf(p->error, sizeof p->error, "ERR FCNP protocol error: %s", why);
    return -EPROTO;
}

static struct slice take(struct body *b, uint64_t len)
{
    if (unlikely((uint64_t)(b->end - b->at) < len)) {
        b->cut = true;
        b->at = b->end;
        return slice_of(b->end, 0);
    }
    struct slice s = slice_of(b->at, len);
    b->at += len;
    return s;
}

static uint32_t take_u32(struct body *b)
{
    struct slice s = take(b, 4);
    return s.len == 4 ? load_u32(s.data) : 0;
}

static uint64_t take_u64(struct body *b)
{
    struct slice s = take(b, 8);
    return s.len == 8 ? load_u64(s.data) : 0;
}

static struct slice number_text(char *text, char kind, uint64_t bits)
{
    double real;
    switch (kind) {
    case 'U':
        return slice_of(text, number_format_u64(text, bits));
    case 'I':
        return slice_of(text, number_format_i64(text, (int64_t)bits));
    default:
        memcpy(&real, &bits, sizeof real);
        return slice_of(text, number_format_double(text, NUMBER_TEXT_MAX, real));
    }
}

struct operands {
    struct slice values[3];
    uint32_t count;
    struct body list; // what lies behind a list's count
    uint32_t list_count;
    bool pairs;
};

// Steps over a list; its bytes are looked at again when argv is built. A count that the bytes cannot hold is cut.
static void skip_list(struct body *b, struct operands *o, bool pairs)
{
    o->list_count = take_u32(b);
    o->pairs = pairs;
    o->list = *b;
    if ((uint64_t)(b->end - b->at) / (pairs ? 8 : 4) < o->list_count) {
        b->cut = true;
        return;
    }
    for (uint32_t i = 0; i < o->list_count && !b->cut; i++) {
        uint64_t len = take_u32(b);
        if (pairs)
            len += take_u32(b);
        take(b, len);
    }
}

static void read_operands(char text[2][NUMBER_TEXT_MAX], const char *wire, struct body *b, struct operands *o)
{
    uint32_t lengths[3], lengths_read = 0, lengths_used = 0, numbers = 0;
    for (; *wire != '\0'; wire++) {
        switch (*wire) {
        case 'L':
            lengths[lengths_read++] = take_u32(b);
            break;
        case 'B':
            o->values[o->count++] = take(b, lengths[lengths_used++]);
            break;
        case 'S':
            o->values[o->count++] = take(b, take_u32(b));
            break;
        case '*':
        case '#':
            skip_list(b, o, *wire == '#');
            break;
        case '~':
            if (b->at < b->end)
                o->values[o->count++] = take(b, (uint64_t)(b->end - b->at));
            break;
        case '?':
            if (b->at == b->end)
                return;
            break;
        default:
            o->values[o->count++] = number_text(text[numbers], *wire, take_u64(b));
            numbers++;
            break;
        }
    }
}

static uint32_t put_list(struct slice *argv, uint32_t argc, const struct operands *o)
{
    struct body b = o->list;
    for (uint32_t i = 0; i < o->list_count; i++) {
        uint32_t first = take_u32(&b), second = o->pairs ? take_u32(&b) : 0;
        argv[argc++] = take(&b, first);
        if (o->pairs)
            argv[argc++] = take(&b, second);
    }
    return argc;
}

static uint32_t put_argv(struct slice *argv, const struct op *op, const struct operands *o)
{
    uint32_t argc = 0;
    for (int i = 0; i < 2 && op->words[i] != NULL; i++)
        argv[argc++] = slice_cstr(op->words[i]);
    for (const char *c = op->order; *c != '\0'; c++) {
        if (*c == '*')
            argc = put_list(argv, argc, o);
        else if (*c == 'p')
            argv[argc++] = slice_cstr("PX");
        else if ((uint32_t)(*c - '0') < o->count)
            argv[argc++] = o->values[*c - '0'];
    }
    return argc;
}

#define FIXED_ARGS_MAX 6 // two words, three operands, PX

static struct slice *reserve_argv(struct fcnp *p, uint64_t need)
{
    if (need > p->argv_cap) {
        struct slice *grown = realloc(p->argv, need * sizeof *grown);
        if (grown == NULL)
            return NULL;
        p->argv = grown;
        p->argv_cap = (uint32_t)need;
    }
    return p->argv;
}

static void read_prefix(struct body *b, struct fcnp_request *out)
{
    if (out->flags & FCNP_HASH)
        out->key_hash = take_u64(b);
    if (out->flags & FCNP_SHARD)
        out->route_shard = take_u32(b);
    if (out->flags & FCNP_TAG)
        out->key_tag = take_u64(b);
}

static int read_body(struct fcnp *p, struct body *b, struct slice *argv, uint32_t argv_max, struct fcnp_request *out)
{
    read_prefix(b, out);
    const struct op *op = &OPS[out->opcode];
    struct operands o = { .count = 0 };
    if (out->opcode == FCNP_GET && b->end - b->at == 4 && load_u32(b->at) != 0 && (out->flags & FCNP_HASH) && (out->flags & FCNP_TAG)) {
        out->bare = true;
        out->key_len = take_u32(b);
    } else {
        read_operands(out->numbers, op->wire, b, &o);
    }
    if (b->cut)
        return fail(p, "truncated body");
    if (b->at != b->end)
        return fail(p, "trailing bytes");
    uint64_t need = FIXED_ARGS_MAX + (uint64_t)o.list_count * (o.pairs ? 2 : 1);
    if (need > (uint64_t)p->limits.args_max + FIXED_ARGS_MAX)
        return fail(p, "too many arguments");
    if (need > argv_max && (argv = reserve_argv(p, need)) == NULL)
        return -ENOMEM;
    out->rq = (struct request){ .argc = put_argv(argv, op, &o), .argv = argv };
    out->shape = op->shape;
    return out->rq.argc > 0 ? FCNP_READY : fail(p, "empty command");
}

uint64_t fcnp_frame_len(struct slice frame)
{
    return frame.len < FCNP_HEADER ? 0 : FCNP_HEADER + (uint64_t)load_u32(frame.data + 4);
}

// Field by field: what need not be cleared is not.
static void begin_request(struct fcnp_request *out, struct slice frame)
{
    out->rq = (struct request){ 0 };
    out->opcode = frame.data[2];
    out->flags = frame.data[3] & FCNP_FLAGS;
    out->level = (frame.data[3] & FCNP_LEVEL) / FCNP_LEVEL_ONE;
    out->shape = FCNP_PLAIN;
    out->bare = false;
}

int fcnp_parse(struct fcnp *p, struct slice frame, struct slice *argv, uint32_t argv_max, struct fcnp_request *out, size_t *used)
{
    *used = 0;
    if (frame.len > 0 && frame.data[0] != FCNP_MAGIC)
        return fail(p, "bad magic");
    if (frame.len > 1 && frame.data[1] != FCNP_VERSION)
        return fail(p, "unsupported version");
    if (frame.len > 3 && (frame.data[3] & ~(FCNP_HASH | FCNP_SHARD | FCNP_TAG | (p->limits.levels ? FCNP_LEVEL : 0))) != 0)
        return fail(p, "unknown flags");
    uint64_t len = fcnp_frame_len(frame);
    if (len > p->limits.frame_max)
        return fail(p, "frame too large");
    if (len == 0 || frame.len < len)
        return FCNP_PARTIAL;
    begin_request(out, frame);
    int rc = FCNP_UNSUPPORTED;
    if (OPS[out->opcode].wire != NULL) {
        struct body b = { frame.data + FCNP_HEADER, frame.data + len, false };
        rc = read_body(p, &b, argv, argv_max, out);
    }
    if (rc > 0)
        *used = len;
    return rc;
}

uint32_t fcnp_words(uint8_t opcode, struct slice words[2])
{
    uint32_t count = 0;
    for (; count < 2 && OPS[opcode].words[count] != NULL; count++)
        words[count] = slice_cstr(OPS[opcode].words[count]);
    return count;
}

int fcnp_head(struct fcnp *p, struct slice frame, size_t *head, uint64_t *value_len)
{
    if (frame.len < FCNP_HEADER || (frame.data[2] != FCNP_SET && frame.data[2] != FCNP_SETEX))
        return FCNP_PARTIAL;
    size_t at = FCNP_HEADER + FCNP_PREFIX_LEN[frame.data[3] & 7] + (frame.data[2] == FCNP_SETEX ? 8u : 0);
    if (frame.len < at + 8)
        return FCNP_PARTIAL;
    uint64_t key_len = load_u32(frame.data + at), whole = at + 8 + key_len + load_u32(frame.data + at + 4);
    if (whole != fcnp_frame_len(frame))
        return fail(p, whole > fcnp_frame_len(frame) ? "truncated body" : "trailing bytes");
    if (frame.len < at + 8 + key_len)
        return FCNP_PARTIAL;
    *head = at + 8 + key_len;
    *value_len = whole - *head;
    return FCNP_READY;
}

int fcnp_parse_split(struct fcnp *p, struct slice head, struct slice value, struct slice *argv, uint32_t argv_max, struct fcnp_request *out)
{
    size_t head_len;
    uint64_t value_len;
    assert(argv_max >= FIXED_ARGS_MAX);
    if (fcnp_head(p, head, &head_len, &value_len) != FCNP_READY || head_len != head.len || value_len != value.len)
        return fail(p, "truncated body");
    begin_request(out, head);
    const struct op *op = &OPS[out->opcode];
    struct body b = { head.data + FCNP_HEADER, head.data + head.len, false };
    read_prefix(&b, out);
    struct operands o = { .count = 0 };
    if (out->opcode == FCNP_SETEX)
        o.values[o.count++] = number_text(out->numbers[0], 'U', take_u64(&b));
    uint32_t key_len = take_u32(&b);
    take_u32(&b);
    o.values[o.count++] = take(&b, key_len);
    o.values[o.count++] = value;
    assert(!b.cut && b.at == b.end);
    out->rq = (struct request){ .argc = put_argv(argv, op, &o), .argv = argv };
    out->shape = op->shape;
    return FCNP_READY;
}
