// SPDX-License-Identifier: Apache-2.0
#include "test/history/session.h"

#include <inttypes.h>

#include "test/history/workload.h"
#include "test/sim/resp_reader.h"

#define TOKEN_LEN  8
#define TOKENS_MAX 4096
#define NO_ACTION  0xff // a step that turned out not to have happened

void session_open(struct session *s, struct workload *w)
{
    memset(s, 0, sizeof *s);
    s->workload = w;
    s->process = w->next_process++;
    s->staged = s->staged_twin = NO_KEY;
    s->watch_group = NO_GROUP;
}

static bool wrong(struct session *s, const struct demand *q, struct slice reply)
{
    workload_fail(s->workload, "process %u, %s: reply %u of the request is %.*s", s->process, q->name, q->replied,
                  reply.len < 80 ? (int)reply.len : 80, (const char *)reply.data);
    return false;
}

static uint64_t number_of(struct slice text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++)
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    return n;
}

// ---- what a reply tells

static bool tell_list(struct session *s, struct step *step, const struct reader *r)
{
    uint64_t tokens[TOKENS_MAX];
    if (reader_is_null(r))
        return true;
    if (!reader_is_string(r) || r->body.len % TOKEN_LEN != 0 || r->body.len / TOKEN_LEN > TOKENS_MAX)
        return false;
    step->count = (uint32_t)(r->body.len / TOKEN_LEN);
    for (uint32_t i = 0; i < step->count; i++)
        tokens[i] = number_of(slice_of(r->body.data + (size_t)i * TOKEN_LEN, TOKEN_LEN));
    step->tokens_at = history_tokens(&s->workload->history, tokens, step->count);
    return true;
}

static bool tell_value(struct session *s, struct step *step, const struct reader *r)
{
    if (step->action == ACTION_LIST)
        return tell_list(s, step, r);
    if (!reader_is_null(r) && !reader_is_string(r))
        return false;
    step->value = reader_is_null(r) ? 0 : number_of(r->body);
    return reader_is_null(r) || step->value != 0;
}

static bool tell_values(struct session *s, struct step *steps, uint32_t count, struct slice reply)
{
    struct reader all = reader_open(reply);
    if (all.mark != '*' || all.number != count)
        return false;
    size_t at = all.used;
    for (uint32_t i = 0; i < count; i++) {
        struct slice rest = slice_of(reply.data + at, reply.len - at);
        struct reader one = reader_open(rest);
        if (!tell_value(s, &steps[i], &one))
            return false;
        at += (size_t)reader_length(rest);
    }
    return true;
}

static void forget(struct step *steps, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        steps[i].action = NO_ACTION;
}

static bool tell_flag(const struct demand_command *c, struct step *steps, const struct reader *r)
{
    if (r->mark != ':' || r->number < 0 || r->number > 1)
        return false;
    if (r->number == 0 && c->want == WANT_FLAG) {
        steps[0].value = !steps[0].value;
        forget(steps + 1, c->count - 1u);
    } else if (r->number == 0) {
        forget(steps, c->count);
    }
    return true;
}

static bool is_text(const struct reader *r, char mark, const char *text)
{
    return r->mark == mark && r->body.len >= strlen(text) && memcmp(r->body.data, text, strlen(text)) == 0;
}

static bool tell(struct session *s, struct demand *q, const struct demand_command *c, struct slice reply)
{
    struct reader r = reader_open(reply);
    struct step *steps = q->steps + c->first;
    switch ((enum want)c->want) {
    case WANT_OK:
        return is_text(&r, '+', "OK") || (s->workload->options.lie == LIE_NOT_DISCARDED && r.mark == '*');
    case WANT_QUEUED:
        return is_text(&r, '+', "QUEUED");
    case WANT_VALUE:
    case WANT_OLD:
        return tell_value(s, steps, &r);
    case WANT_VALUES:
        return tell_values(s, steps, c->count, reply);
    case WANT_LENGTH:
        steps->count = (uint32_t)r.number / TOKEN_LEN;
        return r.mark == ':' && r.number > 0 && r.number % TOKEN_LEN == 0;
    case WANT_SUM:
        steps->value = (uint64_t)r.number;
        return r.mark == ':' && r.number > 0;
    case WANT_FLAG:
    case WANT_UNLESS:
        return tell_flag(c, steps, &r);
    case WANT_NUMBER:
        return r.mark == ':' && r.number == c->number;
    case WANT_ABORT:
        return is_text(&r, '-', "EXECABORT");
    case WANT_ERROR:
        return r.mark == '-';
    case WANT_EXEC:
        break;
    }
    return false;
}

// Refused: the watched keys were changed, and nothing else happened.
static void refuse(struct demand *q)
{
    q->name = "REFUSED";
    q->invoke = q->watch_invoke;
    for (uint32_t i = 0; i < q->step_count; i++)
        q->steps[i].action = i < q->commands[0].count ? (uint8_t)ACTION_CHANGED : (uint8_t)NO_ACTION;
    for (uint32_t i = 0; i < q->step_count; i++)
        q->steps[i].value = 0;
}

static bool tell_exec(struct session *s, struct demand *q, struct slice reply)
{
    struct reader all = reader_open(reply);
    if (reader_is_null(&all) && q->watching) {
        refuse(q);
        return true;
    }
    if (all.mark != '*' || all.number != q->command_count - 2)
        return false;
    size_t at = all.used;
    for (uint32_t i = 1; i + 1 < q->command_count; i++) {
        struct slice rest = slice_of(reply.data + at, reply.len - at);
        size_t len = (size_t)reader_length(rest);
        if (!tell(s, q, &q->commands[i], slice_of(rest.data, len)))
            return false;
        at += len;
    }
    return true;
}

// ---- into the history

static void record(struct session *s, struct demand *q, uint64_t returned)
{
    struct operation op = { .process = s->process, .invoke = q->invoke, .returned = returned, .name = q->name };
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->step_count; i++) {
        if (q->steps[i].action == ACTION_EXISTS && returned != HISTORY_NEVER)
            q->steps[i].count = 0; // it was so
        if (q->steps[i].action != NO_ACTION)
            q->steps[count++] = q->steps[i];
    }
    if (count > 0 && !q->silent)
        history_add(&s->workload->history, &op, q->steps, count);
}

// Without a reply: what would have been found is not known. The guards of a compare-and-set are: it happens only with them.
static void forget_found(struct demand *q)
{
    for (uint32_t i = 0; i < q->command_count; i++) {
        const struct demand_command *c = &q->commands[i];
        if (c->want == WANT_VALUE || c->want == WANT_VALUES)
            forget(q->steps + c->first, c->count);
        if (c->want == WANT_OLD)
            forget(q->steps + c->first, 1);
    }
}

static void group_done(struct session *s, const struct demand *q)
{
    if (q->group != NO_GROUP && s->workload->groups[q->group].pending > 0)
        s->workload->groups[q->group].pending--;
}

static void finish(struct session *s, struct demand *q)
{
    if (q->watches) {
        s->watch_held = true;
        s->watch_due = false;
        s->watch_count = q->step_count;
        memcpy(s->watched, q->steps, q->step_count * sizeof *q->steps);
        s->watch_invoke = q->invoke;
        s->watch_group = q->group;
    }
    group_done(s, q);
    record(s, q, ++s->workload->clock);
}

static bool simple_read(const struct demand *q)
{
    return q->command_count == 1 && q->commands[0].want == WANT_VALUE && q->steps[0].action == ACTION_READ;
}

static void maybe_swap(struct session *s, struct demand *q)
{
    struct demand *next = &s->pending[(s->first + 1) % SESSION_PENDING_MAX];
    if (s->count < 2 || !simple_read(q) || !simple_read(next) || q->steps[0].key == next->steps[0].key)
        return;
    uint32_t key = q->steps[0].key;
    q->steps[0].key = next->steps[0].key;
    next->steps[0].key = key;
    s->workload->lies++;
}

bool session_reply(struct session *s, struct slice reply)
{
    struct demand *q = &s->pending[s->first];
    if (s->count == 0) {
        workload_fail(s->workload, "process %u: a reply that nobody asked for", s->process);
        return false;
    }
    if (s->workload->options.lie == LIE_REORDERED && q->replied == 0)
        maybe_swap(s, q);
    const struct demand_command *c = &q->commands[q->replied];
    bool inside = q->transaction && q->replied > 0 && q->replied + 1 < q->command_count;
    struct demand_command queued = { .want = WANT_QUEUED };
    bool good = inside && c->want != WANT_ERROR ? tell(s, q, &queued, reply)
                : c->want == WANT_EXEC          ? tell_exec(s, q, reply)
                                                : tell(s, q, c, reply);
    if (!good)
        return wrong(s, q, reply);
    if (++q->replied < q->command_count)
        return true;
    finish(s, q);
    s->first = (s->first + 1) % SESSION_PENDING_MAX;
    s->count--;
    return true;
}

void session_cut(struct session *s)
{
    for (; s->count > 0; s->count--, s->first = (s->first + 1) % SESSION_PENDING_MAX) {
        struct demand *q = &s->pending[s->first];
        forget_found(q);
        group_done(s, q);
        if (q->group != NO_GROUP)
            workload_renew_group(s->workload, q->group);
        record(s, q, HISTORY_NEVER);
    }
}
