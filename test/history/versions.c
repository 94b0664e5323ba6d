// SPDX-License-Identifier: Apache-2.0
#include "test/history/versions.h"

#include <inttypes.h>
#include <string.h>

static void *zeros(uint64_t count, size_t size)
{
    void *p = calloc(count > 0 ? count : 1, size);
    assert(p != NULL);
    return p;
}

static uint32_t find(const struct versions *v, uint32_t key, uint64_t value)
{
    return table_get(&v->of_key[key], value);
}

static uint32_t add(struct versions *v, uint32_t key, uint64_t value, uint32_t writer)
{
    if (v->count == v->cap) {
        v->cap = v->cap == 0 ? 1024 : v->cap * 2;
        v->all = realloc(v->all, v->cap * sizeof *v->all);
        assert(v->all != NULL);
    }
    v->all[v->count] = (struct version){ .key = key, .writer = writer, .value = value };
    table_put(&v->of_key[key], value, v->count);
    return v->count++;
}

static const struct operation *operation(const struct versions *v, uint32_t op)
{
    return &v->h->operations[op];
}

static bool answered(const struct versions *v, uint32_t op)
{
    return operation(v, op)->returned != HISTORY_NEVER;
}

// ---- lists: the order of tokens, from what appends were answered and what reads found

static bool two_orders(struct report *r, const struct versions *v, uint32_t key, uint64_t position, uint64_t token, uint32_t op)
{
    FILE *to = report_begin(r, "two orders of one list");
    if (to == NULL)
        return false;
    fprintf(to, "token %" PRIu64 " of %s is %" PRIu64 " for others, and %" PRIu64 " for\n", position, v->h->keys[key].name,
            v->tokens[key][position - 1], token);
    report_operation(r, to, op);
    return false;
}

static bool place_token(struct versions *v, struct report *r, uint32_t op, uint32_t key, uint64_t position, uint64_t token)
{
    if (position > v->token_count[key]) {
        uint64_t count = position + v->token_count[key];
        v->tokens[key] = realloc(v->tokens[key], count * sizeof(uint64_t));
        assert(v->tokens[key] != NULL);
        memset(v->tokens[key] + v->token_count[key], 0, (count - v->token_count[key]) * sizeof(uint64_t));
        v->token_count[key] = count;
    }
    uint64_t *there = &v->tokens[key][position - 1];
    if (*there == token)
        return true;
    if (*there != 0)
        return two_orders(r, v, key, position, token, op);
    *there = token;
    uint32_t other = table_get(&v->positions[key], token);
    if (other == TABLE_NONE) {
        table_put(&v->positions[key], token, (uint32_t)position);
        return true;
    }
    FILE *to = report_begin(r, "a token twice in a list");
    if (to != NULL) {
        fprintf(to, "token %" PRIu64 " of %s stands at %u and at %" PRIu64 ", the latter for\n", token, v->h->keys[key].name, other,
                position);
        report_operation(r, to, op);
    }
    return false;
}

static bool place_tokens(struct versions *v, struct report *r)
{
    for (uint32_t i = 0; i < v->h->operation_count; i++) {
        const struct operation *o = operation(v, i);
        for (uint32_t k = 0; k < o->step_count; k++) {
            const struct step *s = &history_steps(v->h, o)[k];
            if (s->action == ACTION_APPEND && s->count != 0 && !place_token(v, r, i, s->key, s->count, s->value))
                return false;
            for (uint32_t t = 0; s->action == ACTION_LIST && t < s->count; t++)
                if (!place_token(v, r, i, s->key, t + 1, v->h->tokens[s->tokens_at + t]))
                    return false;
        }
    }
    return true;
}

// ---- writes

// The number of the version that a step made; 0: not known.
static uint64_t made_by(const struct versions *v, const struct step *s)
{
    if (s->action == ACTION_WRITE)
        return s->value == 0 ? VALUE_GONE : s->value;
    if (s->action == ACTION_ADD)
        return s->value;
    if (s->action != ACTION_APPEND)
        return 0;
    uint32_t position = table_get(&v->positions[s->key], s->value);
    return position == TABLE_NONE ? 0 : position;
}

static bool written_twice(struct report *r, const struct versions *v, uint32_t version, uint32_t op)
{
    FILE *to = report_begin(r, "one version, two writers");
    if (to == NULL)
        return false;
    fprintf(to, "version %" PRIu64 " of %s was made by both\n", v->all[version].value, v->h->keys[v->all[version].key].name);
    report_operation(r, to, v->all[version].writer);
    report_operation(r, to, op);
    return false;
}

static bool add_writes(struct versions *v, struct report *r, uint32_t op)
{
    const struct operation *o = operation(v, op);
    for (uint32_t k = 0; k < o->step_count; k++) {
        const struct step *s = &history_steps(v->h, o)[k];
        uint64_t value = is_small(v->h, s->key) ? 0 : made_by(v, s);
        if (value == 0)
            continue;
        uint32_t version = find(v, s->key, value);
        if (version != NO_VERSION)
            return written_twice(r, v, version, op);
        version = add(v, s->key, value, op);
        for (uint32_t next = k + 1; next < o->step_count; next++)
            if (history_steps(v->h, o)[next].key == s->key && made_by(v, &history_steps(v->h, o)[next]) != 0)
                v->all[version].passing = true;
    }
    return true;
}

// ---- reads

#define NOT_TOLD (UINT64_MAX - 1)

// A register of kind t was not there: not yet, or not any more?
static uint64_t which_nothing(const struct versions *v, uint32_t key, const struct operation *reader)
{
    uint32_t set = v->setter[key], gone = find(v, key, VALUE_GONE);
    if (set != NO_OP && operation(v, set)->returned < reader->invoke)
        return VALUE_GONE;
    return gone == NO_VERSION || reader->returned < operation(v, v->all[gone].writer)->invoke ? 0 : NOT_TOLD;
}

// The number of the version that a step found, or NOT_TOLD.
static uint64_t found_by(const struct versions *v, const struct operation *o, const struct step *s)
{
    if (s->action == ACTION_LIST)
        return s->count;
    if (s->action != ACTION_READ)
        return NOT_TOLD;
    return s->value == 0 && v->h->keys[s->key].kind == 't' ? which_nothing(v, s->key, o) : s->value;
}

static bool never_written(struct report *r, const struct versions *v, const struct step *s, uint64_t value, uint32_t op)
{
    FILE *to = report_begin(r, value == VALUE_GONE ? "a value that vanished" : "a value that nobody wrote");
    if (to == NULL)
        return false;
    if (value == VALUE_GONE)
        fprintf(to, "%s had been set and nobody removed it, but it is missing for\n", v->h->keys[s->key].name);
    else
        fprintf(to, "nobody whose effects may be seen made version %" PRIu64 " of %s, found by\n", value, v->h->keys[s->key].name);
    report_operation(r, to, op);
    return false;
}

static bool passing_seen(struct report *r, const struct versions *v, uint32_t version, uint32_t op)
{
    FILE *to = report_begin(r, "a value in the middle of a transaction");
    if (to == NULL)
        return false;
    fprintf(to, "a value of %s was overwritten in the same transaction\n", v->h->keys[v->all[version].key].name);
    report_operation(r, to, v->all[version].writer);
    fprintf(to, "but was found by\n");
    report_operation(r, to, op);
    return false;
}

static bool own_differs(struct report *r, const struct versions *v, const struct step *s, uint32_t op)
{
    FILE *to = report_begin(r, "a transaction that does not see its own write");
    if (to == NULL)
        return false;
    fprintf(to, "at key %s\n", v->h->keys[s->key].name);
    report_operation(r, to, op);
    return false;
}

static void add_access(struct versions *v, uint32_t op, uint32_t version, bool write)
{
    if (v->access_count == v->access_cap) {
        v->access_cap = v->access_cap == 0 ? 1024 : v->access_cap * 2;
        v->accesses = realloc(v->accesses, v->access_cap * sizeof *v->accesses);
        assert(v->accesses != NULL);
    }
    v->accesses[v->access_count++] = (struct access){ op, version, write };
}

// What the operation itself last made of the key before step k; 0 = nothing.
static uint64_t made_before(const struct versions *v, const struct operation *o, uint32_t k)
{
    const struct step *steps = history_steps(v->h, o);
    for (uint32_t i = k; i-- > 0;)
        if (steps[i].key == steps[k].key &&
            (steps[i].action == ACTION_WRITE || steps[i].action == ACTION_APPEND || steps[i].action == ACTION_ADD))
            return made_by(v, &steps[i]) != 0 ? made_by(v, &steps[i]) : NOT_TOLD;
    return 0;
}

static bool add_read(struct versions *v, struct report *r, uint32_t op, uint32_t k)
{
    const struct operation *o = operation(v, op);
    const struct step *s = &history_steps(v->h, o)[k];
    uint64_t own = made_before(v, o, k);
    if (own == NOT_TOLD || (s->action != ACTION_READ && s->action != ACTION_LIST))
        return true;
    if (own != 0) {
        uint64_t found = s->action == ACTION_LIST ? s->count : s->value == 0 ? VALUE_GONE : s->value;
        return found == own || own_differs(r, v, s, op);
    }
    uint64_t value = found_by(v, o, s);
    if (value == NOT_TOLD)
        return true;
    uint32_t version = find(v, s->key, value);
    if (version == NO_VERSION && is_register(v->h, s->key) && value != 0)
        return never_written(r, v, s, value, op);
    if (version == NO_VERSION) // the beginning, or a sum whose maker got no answer
        version = add(v, s->key, value, NO_OP);
    if (v->all[version].passing && v->all[version].writer != op)
        return passing_seen(r, v, version, op);
    if (v->all[version].writer != NO_OP)
        v->happened[v->all[version].writer] = true;
    add_access(v, op, version, false);
    return true;
}

static bool add_reads(struct versions *v, struct report *r, bool of_answered)
{
    for (uint32_t i = 0; i < v->h->operation_count; i++)
        for (uint32_t k = 0; answered(v, i) == of_answered && v->happened[i] && k < operation(v, i)->step_count; k++)
            if (!is_small(v->h, history_steps(v->h, operation(v, i))[k].key) && !add_read(v, r, i, k))
                return false;
    return true;
}

static void add_write_accesses(struct versions *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->all[i].writer != NO_OP && v->happened[v->all[i].writer])
            add_access(v, v->all[i].writer, i, true);
}

// ---- lists and counters: as many versions without a known maker as there are makers without an answer, at most

static bool too_many(struct report *r, const struct versions *v, uint32_t key, uint64_t highest, uint64_t known, uint64_t open)
{
    if (highest <= known + open)
        return true;
    FILE *to = report_begin(r, "more than was done");
    if (to != NULL)
        fprintf(to, "%s came to %" PRIu64 ", but only %" PRIu64 " were answered and %" PRIu64 " are open\n", v->h->keys[key].name, highest,
                known, open);
    return false;
}

static bool check_tokens_known(struct versions *v, struct report *r, uint32_t key)
{
    for (uint64_t p = 1; p <= v->token_count[key]; p++) {
        uint32_t version = find(v, key, p);
        if (v->tokens[key][p - 1] != 0 && (version == NO_VERSION || v->all[version].writer == NO_OP)) {
            FILE *to = report_begin(r, "a value that nobody wrote");
            if (to != NULL)
                fprintf(to, "nobody whose effects may be seen appended token %" PRIu64 " of %s, %" PRIu64 "\n", p, v->h->keys[key].name,
                        v->tokens[key][p - 1]);
            return false;
        }
    }
    return true;
}

static bool check_counts(struct versions *v, struct report *r)
{
    uint32_t keys = v->h->key_count;
    uint64_t *open = zeros(keys, sizeof *open), *known = zeros(keys, sizeof *known), *highest = zeros(keys, sizeof *highest);
    bool good = true;
    for (uint64_t i = 0; i < v->h->step_count; i++) {
        const struct step *s = &v->h->steps[i];
        open[s->key] += (s->action == ACTION_ADD || s->action == ACTION_APPEND) && made_by(v, s) == 0;
    }
    for (uint32_t i = 0; i < v->count; i++) {
        const struct version *one = &v->all[i];
        known[one->key] += one->writer != NO_OP;
        if (one->value > highest[one->key])
            highest[one->key] = one->value;
    }
    for (uint32_t key = 0; good && key < keys; key++) {
        char kind = v->h->keys[key].kind;
        if (kind == 'l')
            good = check_tokens_known(v, r, key);
        if (good && (kind == 'l' || kind == 'c'))
            good = too_many(r, v, key, highest[key], known[key], open[key]);
    }
    free(open), free(known), free(highest);
    return good;
}

// ----

static void note_setters(struct versions *v)
{
    for (uint32_t key = 0; key < v->h->key_count; key++)
        v->setter[key] = NO_OP;
    for (uint32_t i = 0; i < v->h->operation_count; i++)
        for (uint32_t k = 0; k < operation(v, i)->step_count; k++) {
            const struct step *s = &history_steps(v->h, operation(v, i))[k];
            if (s->action == ACTION_WRITE && s->value != 0)
                v->setter[s->key] = i;
        }
}

static void note_placed_appends(struct versions *v)
{
    for (uint32_t i = 0; i < v->count; i++)
        if (v->h->keys[v->all[i].key].kind == 'l' && v->all[i].writer != NO_OP)
            v->happened[v->all[i].writer] = true;
}

bool versions_init(struct versions *v, struct report *r)
{
    const struct history *h = r->h;
    *v = (struct versions){ .h = h };
    v->of_key = zeros(h->key_count, sizeof *v->of_key);
    v->tokens = zeros(h->key_count, sizeof *v->tokens);
    v->token_count = zeros(h->key_count, sizeof *v->token_count);
    v->positions = zeros(h->key_count, sizeof *v->positions);
    v->setter = zeros(h->key_count, sizeof *v->setter);
    v->happened = zeros(h->operation_count, sizeof *v->happened);
    note_setters(v);
    if (!place_tokens(v, r))
        return false;
    for (uint32_t i = 0; i < h->operation_count; i++) {
        v->happened[i] = answered(v, i);
        if (!add_writes(v, r, i))
            return false;
    }
    note_placed_appends(v);
    if (!add_reads(v, r, true) || !add_reads(v, r, false) || !check_counts(v, r))
        return false;
    add_write_accesses(v);
    return true;
}

void versions_deinit(struct versions *v)
{
    for (uint32_t key = 0; key < v->h->key_count; key++) {
        table_deinit(&v->of_key[key]);
        table_deinit(&v->positions[key]);
        free(v->tokens[key]);
    }
    free(v->of_key), free(v->positions), free(v->tokens), free(v->token_count);
    free(v->setter), free(v->happened), free(v->accesses), free(v->all);
    free(v->block_of), free(v->next), free(v->blocks);
}
