// SPDX-License-Identifier: Apache-2.0
// Recursive descent over our own table's text: what it does not understand is a mistake in the table, so it asserts.
#include "engine/command/syntax.h"

#include "base/assert.h"

struct reader {
    struct syntax *out;
    const char *at;
};

static const char *const type_names[] = {
    [SYNTAX_STRING] = "string",    [SYNTAX_INTEGER] = "integer", [SYNTAX_DOUBLE] = "double",
    [SYNTAX_KEY] = "key",          [SYNTAX_PATTERN] = "pattern", [SYNTAX_UNIX_TIME] = "unix-time",
    [SYNTAX_TOKEN] = "pure-token", [SYNTAX_ONE_OF] = "oneof",    [SYNTAX_BLOCK] = "block",
};

const char *syntax_type_name(enum syntax_type type)
{
    return type_names[type];
}

static enum syntax_type type_by_name(struct slice name)
{
    static const struct {
        const char *name;
        enum syntax_type type;
    } known[] = {
        { "key", SYNTAX_KEY },
        { "key1", SYNTAX_KEY },
        { "key2", SYNTAX_KEY },
        { "newkey", SYNTAX_KEY },
        { "destkey", SYNTAX_KEY },
        { "pattern", SYNTAX_PATTERN },
        { "unix-time-seconds", SYNTAX_UNIX_TIME },
        { "unix-time-milliseconds", SYNTAX_UNIX_TIME },
        { "seconds", SYNTAX_INTEGER },
        { "milliseconds", SYNTAX_INTEGER },
        { "start", SYNTAX_INTEGER },
        { "end", SYNTAX_INTEGER },
        { "offset", SYNTAX_INTEGER },
        { "bit", SYNTAX_INTEGER },
        { "increment", SYNTAX_INTEGER },
        { "decrement", SYNTAX_INTEGER },
        { "count", SYNTAX_INTEGER },
        { "cursor", SYNTAX_INTEGER },
        { "index", SYNTAX_INTEGER },
        { "destination-db", SYNTAX_INTEGER },
        { "min-match-len", SYNTAX_INTEGER },
        { "client-id", SYNTAX_INTEGER },
        { "maxage", SYNTAX_INTEGER },
        { "protover", SYNTAX_INTEGER },
        { "version", SYNTAX_INTEGER },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (slice_equal(name, slice_cstr(known[i].name)))
            return known[i].type;
    return SYNTAX_STRING;
}

static void skip_spaces(struct reader *r)
{
    while (*r->at == ' ')
        r->at++;
}

static bool eat(struct reader *r, char c)
{
    skip_spaces(r);
    if (*r->at != c)
        return false;
    r->at++;
    return true;
}

static bool eat_dots(struct reader *r)
{
    skip_spaces(r);
    if (r->at[0] != '.' || r->at[1] != '.' || r->at[2] != '.')
        return false;
    r->at += 3;
    return true;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == ':';
}

static bool is_token(const struct syntax_node *n)
{
    return n->name.len > 0 && n->name.data[0] >= 'A' && n->name.data[0] <= 'Z';
}

static uint8_t node_new(struct reader *r, struct syntax_node n)
{
    assert(r->out->count < SYNTAX_NODES_MAX);
    r->out->node[r->out->count] = n;
    return (uint8_t)r->out->count++;
}

static struct syntax_node *node_of(struct reader *r, uint8_t index)
{
    return &r->out->node[index];
}

static uint8_t read_word(struct reader *r)
{
    const char *from = r->at;
    while (is_word(*r->at))
        r->at++;
    struct syntax_node n = { .name = slice_of(from, (size_t)(r->at - from)) };
    assert(n.name.len > 0);
    if (is_token(&n)) {
        n.type = SYNTAX_TOKEN;
        return node_new(r, n);
    }
    n.type = type_by_name(n.name);
    for (int type = SYNTAX_STRING; type <= SYNTAX_UNIX_TIME; type++) {
        size_t len = strlen(type_names[type]);
        if (n.name.len > len + 1 && n.name.data[n.name.len - len - 1] == ':' && memcmp(r->at - len, type_names[type], len) == 0) {
            n.type = (enum syntax_type)type;
            n.name.len -= len + 1;
        }
    }
    return node_new(r, n);
}

// A list of siblings while it is being made.
struct chain {
    uint8_t first, last;
    uint32_t len;
};

static void chain_add(struct reader *r, struct chain *c, uint8_t node)
{
    if (c->first == 0)
        c->first = node;
    else
        node_of(r, c->last)->next = node;
    c->last = node;
    c->len++;
}

// One node for a chain: itself when it is one, else a block.
static uint8_t chain_node(struct reader *r, const struct chain *c)
{
    if (c->len == 1)
        return c->first;
    return node_new(r, (struct syntax_node){ .name = node_of(r, c->first)->name, .type = SYNTAX_BLOCK, .child = c->first });
}

// `key value [key value ...]`: the last siblings repeat what the bracket holds.
static bool repeats(struct reader *r, const struct chain *done, const struct chain *again)
{
    if (done->len < again->len)
        return false;
    uint8_t a = done->first;
    for (uint32_t skip = done->len - again->len; skip > 0; skip--)
        a = node_of(r, a)->next;
    for (uint8_t b = again->first; b != 0; a = node_of(r, a)->next, b = node_of(r, b)->next)
        if (!slice_equal(node_of(r, a)->name, node_of(r, b)->name))
            return false;
    return true;
}

static void fold_repeats(struct reader *r, struct chain *done, uint32_t len)
{
    if (len == 1) {
        node_of(r, done->last)->multiple = true;
        return;
    }
    struct chain kept = { 0 }, block = { 0 };
    uint32_t skip = done->len - len;
    for (uint8_t at = done->first, next; at != 0; at = next) {
        next = node_of(r, at)->next;
        node_of(r, at)->next = 0;
        chain_add(r, skip > 0 ? &kept : &block, at);
        skip -= skip > 0;
    }
    uint8_t node = chain_node(r, &block);
    node_of(r, node)->multiple = true;
    chain_add(r, &kept, node);
    *done = kept;
}

static struct chain read_group(struct reader *r, bool *dots);

static void read_optional(struct reader *r, struct chain *out)
{
    bool dots;
    struct chain inner = read_group(r, &dots);
    bool closed = eat(r, ']');
    assert(closed);
    if (dots && repeats(r, out, &inner)) {
        fold_repeats(r, out, inner.len);
        return;
    }
    uint8_t node = chain_node(r, &inner);
    node_of(r, node)->optional = true;
    node_of(r, node)->multiple |= dots;
    chain_add(r, out, node);
}

// Words and <groups> behind a token.
static bool read_plain(struct reader *r, uint8_t *out)
{
    skip_spaces(r);
    if (*r->at == '<') {
        bool dots;
        r->at++;
        struct chain inner = read_group(r, &dots);
        bool closed = eat(r, '>');
        assert(closed);
        *out = chain_node(r, &inner);
        node_of(r, *out)->multiple |= dots;
        return true;
    }
    if (!is_word(*r->at))
        return false;
    *out = read_word(r);
    return true;
}

static bool token_follows(struct reader *r)
{
    skip_spaces(r);
    return *r->at >= 'A' && *r->at <= 'Z';
}

// What belongs to a token becomes one node that carries it.
static uint8_t read_token_tail(struct reader *r, uint8_t token)
{
    struct chain own = { 0 };
    uint8_t node;
    while (!token_follows(r) && read_plain(r, &node)) {
        chain_add(r, &own, node);
        // `ID client-id [client-id ...]`
        skip_spaces(r);
        const char *before = r->at;
        if (eat(r, '[')) {
            uint32_t count = r->out->count;
            bool dots;
            struct chain inner = read_group(r, &dots);
            if (dots && repeats(r, &own, &inner) && eat(r, ']')) {
                fold_repeats(r, &own, inner.len);
            } else {
                r->at = before;
                r->out->count = count;
            }
        }
    }
    if (own.len == 0)
        return token;
    struct slice word = node_of(r, token)->name;
    uint8_t whole = chain_node(r, &own);
    node_of(r, whole)->token = word;
    if (own.len > 1 || node_of(r, whole)->type >= SYNTAX_TOKEN)
        node_of(r, whole)->name = word;
    return whole;
}

static struct chain read_sequence(struct reader *r)
{
    struct chain c = { 0 };
    uint8_t node;
    for (;;) {
        if (eat(r, '[')) {
            read_optional(r, &c);
        } else if (read_plain(r, &node)) {
            if (node_of(r, node)->type == SYNTAX_TOKEN && is_token(node_of(r, node)))
                node = read_token_tail(r, node);
            chain_add(r, &c, node);
        } else {
            return c;
        }
    }
}

// Alternatives, or one sequence; `dots` stand behind the last.
static struct chain read_group(struct reader *r, bool *dots)
{
    struct chain first = read_sequence(r);
    *dots = eat_dots(r);
    skip_spaces(r);
    if (*r->at != '|')
        return first;
    struct chain all = { 0 };
    chain_add(r, &all, chain_node(r, &first));
    while (eat(r, '|')) {
        struct chain more = read_sequence(r);
        chain_add(r, &all, chain_node(r, &more));
        *dots |= eat_dots(r);
    }
    struct chain one = { 0 };
    chain_add(r, &one, node_new(r, (struct syntax_node){ .name = slice_cstr("choice"), .type = SYNTAX_ONE_OF, .child = all.first }));
    return one;
}

void syntax_parse(struct syntax *s, const char *text)
{
    struct reader r = { .out = s, .at = text };
    bool dots;
    s->count = 0;
    node_new(&r, (struct syntax_node){ .type = SYNTAX_BLOCK });
    struct chain all = read_group(&r, &dots);
    skip_spaces(&r);
    assert(*r.at == '\0');
    s->node[0].child = all.first;
}

uint32_t syntax_length(const struct syntax *s, uint8_t first)
{
    uint32_t n = 0;
    for (uint8_t i = first; i != 0; i = s->node[i].next)
        n++;
    return n;
}
