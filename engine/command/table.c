// SPDX-License-Identifier: Apache-2.0
// The table that commands.def spells out, and how a name finds its line.
//
// Names are at most 16 bytes, so that two 8-byte words (the first and the last bytes, lower-cased eight at a time, overlapping
// for 8 < length < 16) and the length hold all of it: one multiplication finds the slot, three compares are the proof.
// At start the multiplier is searched for which no two names share a slot; there is no second probe.
#include "engine/command/command.h"

#include "base/bytes.h"

#define W        CMD_WRITE
#define R        CMD_READONLY
#define OOM      CMD_DENYOOM
#define ADMIN    CMD_ADMIN
#define NS       CMD_NOSCRIPT
#define LOAD     CMD_LOADING
#define STALE    CMD_STALE
#define FAST     CMD_FAST
#define NOAUTH   CMD_NO_AUTH
#define SKIPSLOW CMD_SKIP_SLOWLOG
#define BUSY     CMD_ALLOW_BUSY
#define NOMULTI  CMD_NO_MULTI
#define BLOCKING CMD_BLOCKING
#define LOCAL    CMD_LOCAL
#define BLOB     CMD_TAKES_BLOB
#define SUB      CMD_SUBCOMMAND
#define CURSOR   CMD_CURSOR
#define IF(x, y) ((x) ? (y) : 0)
// The categories that Redis derives from flags.
#define DERIVED(f)                                                                                                                         \
    (IF((f)&CMD_WRITE, CAT_WRITE) | IF((f)&CMD_READONLY, CAT_READ) | IF((f)&CMD_ADMIN, CAT_ADMIN | CAT_DANGEROUS) |                        \
     IF((f)&CMD_PUBSUB, CAT_PUBSUB) | IF((f)&CMD_FAST, CAT_FAST) | IF(!((f)&CMD_FAST), CAT_SLOW) | IF((f)&CMD_BLOCKING, CAT_BLOCKING))

#define COMMAND(text, function, args, first, last, step, flag, cats, spreads, keys, from, family, hints, old, cost, about, usage)          \
    {                                                                                                                                      \
        .name = text,                                                                                                                      \
        .run = cmd_##function,                                                                                                             \
        .arity = args,                                                                                                                     \
        .key_first = first,                                                                                                                \
        .key_last = last,                                                                                                                  \
        .key_step = step,                                                                                                                  \
        .flags = flag,                                                                                                                     \
        .categories = (uint32_t)((cats) | DERIVED(flag)),                                                                                  \
        .spread = spreads,                                                                                                                 \
        .since = from,                                                                                                                     \
        .group = family,                                                                                                                   \
        .complexity = cost,                                                                                                                \
        .summary = about,                                                                                                                  \
        .syntax = usage,                                                                                                                   \
        .key_access = keys,                                                                                                                \
        .tips = hints,                                                                                                                     \
        .deprecated = old,                                                                                                                 \
    },
// clang-format off
static struct command table[] = {
#include "engine/command/commands.def"
};
// clang-format on
#undef COMMAND

#define TABLE_COUNT ((uint32_t)(sizeof table / sizeof *table))
#define SLOT_BITS   10

struct slot {
    uint64_t head, tail;
    uint32_t len;
    uint16_t line; // index + 1, 0 = free
    uint16_t sub_count;
};
static_assert(sizeof(struct slot) == 24, "a slot and its compares stay in one cache line mostly");

static struct slot slots[1 << SLOT_BITS];
static uint64_t multiplier;

// Exact for all bytes: only 'A'..'Z' change.
static inline uint64_t lower_word(uint64_t x)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t low7 = x & (ones * 0x7f);
    uint64_t from_a = low7 + ones * (0x80 - 'A');
    uint64_t past_z = low7 + ones * (0x7f - 'Z');
    return x | ((from_a & ~past_z & ~x & (ones * 0x80)) >> 2);
}

static inline struct slot name_words(struct slice name)
{
    const uint8_t *p = name.data;
    size_t n = name.len;
    struct slot s = { .len = (uint32_t)n };
    if (n >= 8) {
        s.head = load_u64(p);
        s.tail = load_u64(p + n - 8);
    } else if (n >= 4) {
        s.head = load_u32(p) | (uint64_t)load_u32(p + n - 4) << 32;
    } else if (n > 0) {
        s.head = (uint64_t)p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
    }
    s.head = lower_word(s.head);
    s.tail = lower_word(s.tail);
    return s;
}

static inline uint32_t slot_of(const struct slot *words, uint64_t by)
{
    return (uint32_t)((((words->head ^ hash_rotl(words->tail, 29)) + words->len) * by) >> (64 - SLOT_BITS));
}

static bool slots_fill(void)
{
    memset(slots, 0, sizeof slots);
    for (uint32_t i = 0; i < TABLE_COUNT; i++) {
        if (table[i].flags & CMD_SUBCOMMAND)
            continue;
        struct slot words = name_words(slice_cstr(table[i].name));
        struct slot *to = &slots[slot_of(&words, multiplier)];
        if (to->line != 0)
            return false;
        *to = words;
        to->line = (uint16_t)(i + 1);
        while (i + 1u + to->sub_count < TABLE_COUNT && (table[i + 1u + to->sub_count].flags & CMD_SUBCOMMAND))
            to->sub_count++;
    }
    return true;
}

__attribute__((constructor)) static void table_init(void)
{
    uint8_t container = 0;
    for (uint32_t i = 0; i < TABLE_COUNT; i++) {
        assert(strlen(table[i].name) <= ((table[i].flags & CMD_SUBCOMMAND) ? COMMAND_NAME_MAX : 16));
        if (strncmp(table[i].complexity, "O(1)", 4) != 0)
            table[i].flags |= CMD_TIMED;
        if (table[i].flags & CMD_SUBCOMMAND)
            table[i].id_container = container;
        else
            container = (uint8_t)(i + 1);
    }
    static_assert(sizeof table / sizeof *table < UINT8_MAX, "id_container holds an index + 1");
    uint64_t seed = 1;
    do
        multiplier = prng_splitmix(&seed) | 1;
    while (!slots_fill());
}

static inline const struct slot *slot_find(struct slice name)
{
    struct slot words = name_words(name);
    const struct slot *s = &slots[slot_of(&words, multiplier)];
    return s->line != 0 && ((s->head ^ words.head) | (s->tail ^ words.tail) | (s->len ^ words.len)) == 0 && name.len <= 16 ? s : NULL;
}

// `sub` is what stands behind the bar of one of the lines below the container.
static const struct command *sub_find(const struct slot *s, struct slice sub)
{
    for (uint32_t i = s->line; i < s->line + (uint32_t)s->sub_count; i++)
        if (slice_is(sub, table[i].name + s->len + 1))
            return &table[i];
    return NULL;
}

const struct command *command_find(const struct slice *argv, uint32_t argc)
{
    const struct slot *s = slot_find(argv[0]);
    if (unlikely(s == NULL))
        return NULL;
    const struct command *c = &table[s->line - 1];
    if (likely(s->sub_count == 0) || argc < 2)
        return c;
    const struct command *sub = sub_find(s, argv[1]);
    return sub != NULL ? sub : c;
}

const struct command *command_find_name(struct slice name)
{
    const uint8_t *bar = name.len > 0 ? memchr(name.data, '|', name.len) : NULL;
    if (bar == NULL) {
        const struct slot *whole = slot_find(name);
        return whole == NULL ? NULL : &table[whole->line - 1];
    }
    size_t len = (size_t)(bar - name.data);
    const struct slot *s = slot_find(slice_of(name.data, len));
    return s == NULL ? NULL : sub_find(s, slice_of(bar + 1, name.len - len - 1));
}

const struct command *command_at(uint32_t index)
{
    assert(index < TABLE_COUNT);
    return &table[index];
}

uint32_t command_count(void)
{
    return TABLE_COUNT;
}

uint32_t command_top_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < TABLE_COUNT; i++)
        count += (table[i].flags & CMD_SUBCOMMAND) == 0;
    return count;
}

uint32_t command_index(const struct command *c)
{
    return (uint32_t)(c - table);
}

bool command_arity_ok(const struct command *c, uint32_t argc)
{
    return c->arity >= 0 ? argc == (uint32_t)c->arity : argc >= (uint32_t)-c->arity;
}

uint32_t command_sub_count(const struct command *c)
{
    uint32_t count = 0;
    uint32_t first = command_index(c) + 1;
    while (first + count < TABLE_COUNT && (c->flags & CMD_SUBCOMMAND) == 0 && (table[first + count].flags & CMD_SUBCOMMAND))
        count++;
    return count;
}

bool command_key_range(const struct command *c, uint32_t argc, struct command_keys *out)
{
    if (c->key_first <= 0 || (uint32_t)c->key_first >= argc)
        return false;
    int64_t last = c->key_last >= 0 ? c->key_last : (int64_t)argc + c->key_last;
    if (last >= argc)
        last = argc - 1;
    if (last < c->key_first)
        return false;
    uint32_t first = (uint32_t)c->key_first, step = (uint32_t)c->key_step;
    *out = (struct command_keys){ .first = first, .last = first + ((uint32_t)last - first) / step * step, .step = step };
    return true;
}

bool command_keys(const struct command *c, const struct slice *argv, uint32_t argc, struct command_keys *out)
{
    (void)argv;
    if (!command_key_range(c, argc, out))
        return false;
    // MSET a b c: the last key lacks its value, and the command answers that for itself.
    return c->key_last >= 0 || (argc - out->first) % out->step == 0;
}
