// SPDX-License-Identifier: Apache-2.0
#include "bench/template.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

// What stands before the keys, before each key and behind it.
struct pieces {
    uint8_t head[64], before[32], after[32];
    size_t head_len, before_len, after_len;
};

static bool op_has_key(enum op_kind kind)
{
    return kind != OP_PING && kind != OP_ECHO;
}

static bool op_has_value(enum op_kind kind)
{
    return kind == OP_SET || kind == OP_MSET || kind == OP_ECHO;
}

static bool op_is_multi(enum op_kind kind)
{
    return kind == OP_MGET || kind == OP_MSET;
}

bool template_possible(const struct options *o, enum op_kind kind)
{
    if (o->protocol != PROTOCOL_FCNP)
        return true;
    return kind != OP_INCR && (!o->direct || kind == OP_GET || kind == OP_SET);
}

static void key_build(uint8_t *key, uint32_t size, enum op_kind kind, uint64_t keys)
{
    uint32_t digits = (uint32_t)snprintf(NULL, 0, "%llu", (unsigned long long)(keys - 1));
    memset(key, '0', size);
    if (size >= digits + 4)
        memcpy(key, kind == OP_INCR ? "ctr:" : "key:", 4);
    else
        key[0] = kind == OP_INCR ? 'c' : 'k';
}

static void resp_pieces(struct pieces *p, const struct template *t, const struct options *o)
{
    static const char *const verbs[OP_COUNT] = { "GET", "SET", "INCR", "MGET", "MSET", "PING", "" };
    uint32_t arguments = 1 + t->keys * (t->has_value ? 2 : 1);
    p->head_len =
        (size_t)snprintf((char *)p->head, sizeof p->head, "*%u\r\n$%zu\r\n%s\r\n", arguments, strlen(verbs[t->kind]), verbs[t->kind]);
    if (t->keys == 0)
        return;
    p->before_len = (size_t)snprintf((char *)p->before, sizeof p->before, "$%u\r\n", o->key_size);
    p->after_len =
        (size_t)snprintf((char *)p->after, sizeof p->after, t->has_value ? "\r\n$%llu\r\n" : "\r\n", (unsigned long long)t->value_len);
}

static void put_u32(uint8_t *to, size_t *len, uint64_t value)
{
    store_u32(to + *len, (uint32_t)value);
    *len += 4;
}

static void fcnp_pieces(struct pieces *p, const struct template *t, const struct options *o)
{
    static const uint8_t opcodes[OP_COUNT] = { [OP_GET] = 1, [OP_SET] = 2, [OP_MGET] = 10, [OP_MSET] = 11, [OP_PING] = 9 };
    static const uint8_t prefix_len[] = { [TEMPLATE_HASH] = 8, [TEMPLATE_SHARD] = 4, [TEMPLATE_FULL] = 8 + 4 + 8 };
    memcpy(p->head, (uint8_t[]){ 0xFA, 2, opcodes[t->kind], t->flags }, 4);
    p->head_len = TEMPLATE_PREFIX_AT + prefix_len[t->flags]; // the body's length comes when it is known
    if (t->keys == 0)
        return;
    // One key: its lengths end the head. Several: their number does, and each has its lengths before it.
    uint8_t *lengths = t->keys == 1 && !op_is_multi(t->kind) ? p->head : p->before;
    size_t *lengths_len = lengths == p->head ? &p->head_len : &p->before_len;
    if (lengths == p->before)
        put_u32(p->head, &p->head_len, t->keys);
    put_u32(lengths, lengths_len, o->key_size);
    if (t->has_value)
        put_u32(lengths, lengths_len, t->value_len);
}

static int bytes_build(struct template *t, const struct options *o, uint64_t slack)
{
    struct pieces p = { 0 };
    if (t->kind != OP_ECHO && o->protocol == PROTOCOL_FCNP)
        fcnp_pieces(&p, t, o);
    else if (t->kind != OP_ECHO)
        resp_pieces(&p, t, o);
    t->head_len = p.head_len;
    t->key_end = p.before_len + (t->keys > 0 ? o->key_size : 0);
    t->unit_len = t->key_end + p.after_len;
    t->bytes = calloc(1, t->head_len + t->unit_len + (t->kind == OP_ECHO ? t->value_len : 0) + slack);
    if (t->bytes == NULL)
        return -ENOMEM;
    memcpy(t->bytes, p.head, p.head_len);
    if (t->keys == 0)
        return 0;
    uint8_t *unit = t->bytes + p.head_len;
    memcpy(unit, p.before, p.before_len);
    key_build(unit + p.before_len, o->key_size, t->kind, o->keys);
    memcpy(unit + t->key_end, p.after, p.after_len);
    return 0;
}

int template_build(struct template *t, const struct options *o, enum op_kind kind, uint64_t value_len, uint64_t slack)
{
    bool fcnp = o->protocol == PROTOCOL_FCNP && kind != OP_ECHO;
    *t = (struct template){ .kind = kind };
    t->keys = !op_has_key(kind) ? 0 : op_is_multi(kind) ? o->batch : 1;
    t->has_value = op_has_value(kind);
    t->value_len = t->has_value ? value_len : 0;
    t->line_ends = t->has_value && !fcnp;
    if (fcnp && t->keys > 0 && !op_is_multi(kind))
        t->flags = !o->direct ? TEMPLATE_HASH : o->shard_prefix ? TEMPLATE_SHARD : TEMPLATE_FULL;
    if (bytes_build(t, o, slack) != 0)
        return -ENOMEM;
    uint64_t unit = t->unit_len + t->value_len + (t->line_ends ? 2 : 0);
    t->len = kind == OP_ECHO ? value_len : t->head_len + t->keys * unit;
    if (fcnp)
        store_u32(t->bytes + 4, (uint32_t)(t->len - 8));
    return 0;
}

void template_free(struct template *t)
{
    free(t->bytes);
    t->bytes = NULL;
}
