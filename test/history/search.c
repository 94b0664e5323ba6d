// SPDX-License-Identifier: Apache-2.0
// Small groups of keys, every order that the times allow (Wing and Gong, "Testing and verifying concurrent objects", J. Parallel Distrib.
// Comput. 17, 1993; remembering what was tried: Lowe, "Testing for linearizability", Concurrency and Computation 29(4), 2017).
//
// It walks through the group's calls and replies by time and keeps every configuration that is possible: which of the pending operations
// have happened, and what the keys hold then. At a reply, configurations grow by every sequence of pending operations until the replied
// one has happened; those in which it cannot happen end. None left: no order explains the replies.
// Operations without a reply stay pending for ever; those that only read are left out. Of several with equal steps the oldest goes first,
// or they would multiply.
#include <inttypes.h>
#include <string.h>

#include "test/history/versions.h"

#define SLOTS_MAX   64 // pending operations of a group
#define KEYS_MAX    4
#define CONFIGS_MAX 200000
#define TOLD_MAX    12 // operations of a counter-example before the last one

struct config {
    uint64_t happened; // of the pending, by slot
    uint64_t values[KEYS_MAX];
};

struct event {
    uint32_t group, op;
    uint64_t at;
    bool reply;
};

struct search {
    const struct history *h;
    uint32_t *place;    // [key]: in its group
    uint32_t *group_of; // [key]
    uint32_t group_count;
    struct config *configs;
    uint32_t count, cap;
    uint32_t *cells; // a hash set of the configurations' numbers + 1
    uint32_t cell_count;
    uint32_t pending[SLOTS_MAX]; // operations; NO_OP
    uint32_t slots;              // high water
    bool too_wide;
};

static const struct operation *operation(const struct search *s, uint32_t op)
{
    return &s->h->operations[op];
}

// ---- the set of configurations

static uint64_t config_hash(const struct config *c)
{
    uint64_t hash = table_mix(c->happened);
    for (int i = 0; i < KEYS_MAX; i++)
        hash = table_mix(hash ^ c->values[i]) + (uint64_t)i;
    return hash;
}

static void rehash(struct search *s)
{
    memset(s->cells, 0, s->cell_count * sizeof *s->cells);
    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t at = (uint32_t)config_hash(&s->configs[i]) & (s->cell_count - 1);
        while (s->cells[at] != 0)
            at = (at + 1) & (s->cell_count - 1);
        s->cells[at] = i + 1;
    }
}

static void add_config(struct search *s, struct config c)
{
    uint32_t at = (uint32_t)config_hash(&c) & (s->cell_count - 1);
    for (; s->cells[at] != 0; at = (at + 1) & (s->cell_count - 1))
        if (memcmp(&s->configs[s->cells[at] - 1], &c, sizeof c) == 0)
            return;
    if (s->count == CONFIGS_MAX) {
        s->too_wide = true;
        return;
    }
    if (s->count == s->cap) {
        s->cap *= 2;
        s->configs = realloc(s->configs, s->cap * sizeof *s->configs);
        s->cell_count = s->cap * 2;
        s->cells = realloc(s->cells, s->cell_count * sizeof *s->cells);
        assert(s->configs != NULL && s->cells != NULL);
        s->configs[s->count++] = c;
        rehash(s);
        return;
    }
    s->configs[s->count++] = c;
    s->cells[at] = s->count;
}

// ---- one operation

// Does it explain what the operation found? Then *c is what it leaves.
static bool happens(const struct search *s, const struct operation *o, struct config *c)
{
    for (uint32_t k = 0; k < o->step_count; k++) {
        const struct step *step = &history_steps(s->h, o)[k];
        if (!is_small(s->h, step->key))
            continue;
        uint64_t *value = &c->values[s->place[step->key]];
        if (step->action == ACTION_EXISTS && (*value != 0) != (step->value != 0)) {
            if (o->returned != HISTORY_NEVER)
                return false;
            k += step->count; // a condition
            continue;
        }
        if ((step->action == ACTION_READ && *value != step->value) ||
            (step->action == ACTION_ADD && step->value != 0 && *value + 1 != step->value))
            return false;
        if (step->action == ACTION_WRITE)
            *value = step->value;
        if (step->action == ACTION_ADD)
            ++*value;
    }
    return true;
}

static bool equal_steps(const struct search *s, uint32_t a, uint32_t b)
{
    const struct operation *x = operation(s, a), *y = operation(s, b);
    if (x->returned != HISTORY_NEVER || y->returned != HISTORY_NEVER || x->step_count != y->step_count)
        return false;
    return memcmp(history_steps(s->h, x), history_steps(s->h, y), x->step_count * sizeof(struct step)) == 0;
}

// An older one with the same steps has not happened yet.
static bool has_elder(const struct search *s, uint64_t happened, uint32_t slot)
{
    for (uint32_t i = 0; i < s->slots; i++)
        if (i != slot && s->pending[i] != NO_OP && (happened >> i & 1) == 0 && s->pending[i] < s->pending[slot] &&
            equal_steps(s, s->pending[i], s->pending[slot]))
            return true;
    return false;
}

// Every configuration that the pending operations can lead to, until `slot` has happened.
static void grow(struct search *s, uint32_t slot)
{
    for (uint32_t i = 0; i < s->count && !s->too_wide; i++) {
        if ((s->configs[i].happened >> slot & 1) != 0)
            continue;
        for (uint32_t k = 0; k < s->slots; k++) {
            struct config next = s->configs[i];
            if (s->pending[k] == NO_OP || (next.happened >> k & 1) != 0 || !happens(s, operation(s, s->pending[k]), &next))
                continue;
            if (has_elder(s, next.happened, k))
                continue;
            next.happened |= UINT64_C(1) << k;
            add_config(s, next);
        }
    }
}

// Only those in which `slot` has happened live on.
static void keep(struct search *s, uint32_t slot)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->count; i++)
        if ((s->configs[i].happened >> slot & 1) != 0) {
            s->configs[kept] = s->configs[i];
            s->configs[kept++].happened &= ~(UINT64_C(1) << slot);
        }
    s->count = kept;
    rehash(s);
}

// ---- one group

static void tell(const struct search *s, struct report *r, const struct event *events, uint64_t at)
{
    FILE *to = report_begin(r, "no order explains the replies");
    if (to == NULL)
        return;
    fprintf(to, "of a small group of keys; its last replies:\n");
    uint64_t from = at;
    for (int told = 0; from > 0 && events[from - 1].group == events[at].group && told < TOLD_MAX; from--)
        told += events[from - 1].reply;
    for (; from <= at; from++)
        if (events[from].reply)
            report_operation(r, to, events[from].op);
    fprintf(to, "  the last of these cannot have happened at any moment; still pending then:\n");
    for (uint32_t i = 0; i < s->slots; i++)
        if (s->pending[i] != NO_OP && s->pending[i] != events[at].op)
            report_operation(r, to, s->pending[i]);
}

static bool call(struct search *s, uint32_t op)
{
    uint32_t slot = 0;
    while (slot < s->slots && s->pending[slot] != NO_OP)
        slot++;
    if (slot == SLOTS_MAX)
        return false;
    s->pending[slot] = op;
    if (slot == s->slots)
        s->slots++;
    return true;
}

static void begin_group(struct search *s)
{
    s->count = 0;
    s->slots = 0;
    memset(s->pending, 0xff, sizeof s->pending);
    rehash(s);
    add_config(s, (struct config){ 0 });
}

static bool replied(struct search *s, struct report *r, const struct event *events, uint64_t at)
{
    uint32_t slot = 0;
    while (s->pending[slot] != events[at].op)
        slot++;
    grow(s, slot);
    if (s->too_wide)
        return true;
    keep(s, slot);
    if (s->count == 0)
        tell(s, r, events, at);
    s->pending[slot] = NO_OP;
    return s->count > 0;
}

static bool run(struct search *s, struct report *r, const struct event *events, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (i == 0 || events[i].group != events[i - 1].group)
            begin_group(s);
        if (!events[i].reply && !call(s, events[i].op))
            s->too_wide = true;
        if (!s->too_wide && events[i].reply && !replied(s, r, events, i))
            return false;
        FILE *to = s->too_wide ? report_begin(r, "too many operations at once to search") : NULL;
        if (to != NULL) {
            fprintf(to, "at\n");
            report_operation(r, to, events[i].op);
        }
        if (s->too_wide)
            return false;
    }
    return true;
}

// ---- which operations, of which groups

static void find_groups(struct search *s)
{
    struct table groups = { 0 };
    for (uint32_t key = 0; key < s->h->key_count; key++) {
        if (!is_small(s->h, key))
            continue;
        uint64_t hash = 0xcbf29ce484222325u;
        for (const char *c = s->h->keys[key].name; *c != '\0' && *c != '.'; c++)
            hash = (hash ^ (uint8_t)*c) * 0x100000001b3u;
        uint32_t packed = table_get(&groups, hash);
        if (packed == TABLE_NONE)
            packed = s->group_count++ * (KEYS_MAX + 1);
        s->group_of[key] = packed / (KEYS_MAX + 1);
        s->place[key] = packed % (KEYS_MAX + 1);
        assert(s->place[key] < KEYS_MAX);
        table_put(&groups, hash, packed + 1);
    }
    table_deinit(&groups);
}

// Without a reply and without an effect.
static bool left_out(const struct search *s, const struct operation *o)
{
    bool idle = o->returned == HISTORY_NEVER;
    for (uint32_t k = 0; k < o->step_count && idle; k++)
        idle = history_steps(s->h, o)[k].action != ACTION_WRITE && history_steps(s->h, o)[k].action != ACTION_ADD;
    return idle;
}

static uint32_t group_of(const struct search *s, const struct operation *o)
{
    for (uint32_t k = 0; k < o->step_count; k++)
        if (is_small(s->h, history_steps(s->h, o)[k].key) && history_steps(s->h, o)[k].action != ACTION_CHANGED)
            return s->group_of[history_steps(s->h, o)[k].key];
    return NO_OP;
}

static int by_group_and_time(const void *a, const void *b)
{
    const struct event *x = a, *y = b;
    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (int)x->reply - (int)y->reply;
}

static struct event *events_of(const struct search *s, uint64_t *count)
{
    struct event *events = malloc((2 * s->h->operation_count + 1) * sizeof *events);
    assert(events != NULL);
    *count = 0;
    for (uint32_t i = 0; i < s->h->operation_count; i++) {
        const struct operation *o = operation(s, i);
        uint32_t group = group_of(s, o);
        if (group == NO_OP || left_out(s, o))
            continue;
        events[(*count)++] = (struct event){ group, i, o->invoke, false };
        if (o->returned != HISTORY_NEVER)
            events[(*count)++] = (struct event){ group, i, o->returned, true };
    }
    qsort(events, *count, sizeof *events, by_group_and_time);
    return events;
}

bool check_search(const struct history *h, struct report *r)
{
    struct search s = { .h = h, .cap = 64, .cell_count = 128 };
    uint64_t count;
    s.place = calloc(h->key_count + 1u, sizeof *s.place), s.group_of = calloc(h->key_count + 1u, sizeof *s.group_of);
    s.configs = malloc(s.cap * sizeof *s.configs), s.cells = calloc(s.cell_count, sizeof *s.cells);
    assert(s.place != NULL && s.group_of != NULL && s.configs != NULL && s.cells != NULL);
    find_groups(&s);
    struct event *events = events_of(&s, &count);
    bool good = run(&s, r, events, count);
    free(events), free(s.place), free(s.group_of), free(s.configs), free(s.cells);
    return good;
}
