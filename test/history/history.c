// SPDX-License-Identifier: Apache-2.0
#include "test/history/history.h"

#include <inttypes.h>
#include <string.h>

void history_init(struct history *h)
{
    *h = (struct history){ 0 };
}

void history_deinit(struct history *h)
{
    free(h->operations);
    free(h->steps);
    free(h->tokens);
    free(h->keys);
    table_deinit(&h->names);
    *h = (struct history){ 0 };
}

static void *grown(void *array, uint64_t *cap, uint64_t need, size_t size)
{
    if (need <= *cap)
        return array;
    while (*cap < need)
        *cap = *cap == 0 ? 64 : *cap * 2;
    array = realloc(array, *cap * size);
    assert(array != NULL);
    return array;
}

static uint64_t name_hash(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    return hash;
}

uint32_t history_key(struct history *h, const char *name)
{
    uint64_t hash = name_hash(name);
    for (uint32_t found; (found = table_get(&h->names, hash)) != TABLE_NONE; hash++)
        if (strcmp(h->keys[found].name, name) == 0)
            return found;
    uint64_t cap = h->key_cap;
    h->keys = grown(h->keys, &cap, h->key_count + 1, sizeof *h->keys);
    h->key_cap = (uint32_t)cap;
    struct history_key *k = &h->keys[h->key_count];
    snprintf(k->name, sizeof k->name, "%s", name);
    k->kind = name[0];
    table_put(&h->names, hash, h->key_count);
    return h->key_count++;
}

uint64_t history_tokens(struct history *h, const uint64_t *tokens, uint32_t count)
{
    uint64_t at = h->token_count;
    h->tokens = grown(h->tokens, &h->token_cap, at + count, sizeof *h->tokens);
    if (count > 0)
        memcpy(h->tokens + at, tokens, count * sizeof *tokens);
    h->token_count += count;
    return at;
}

void history_add(struct history *h, const struct operation *op, const struct step *steps, uint32_t count)
{
    h->operations = grown(h->operations, &h->operation_cap, h->operation_count + 1, sizeof *h->operations);
    h->steps = grown(h->steps, &h->step_cap, h->step_count + count, sizeof *h->steps);
    struct operation *o = &h->operations[h->operation_count++];
    *o = *op;
    o->first_step = h->step_count;
    o->step_count = count;
    if (count > 0)
        memcpy(h->steps + h->step_count, steps, count * sizeof *steps);
    h->step_count += count;
}

// ---- text

static const char letters[] = "rwalie"; // by enum action; CHANGED is x

static char letter_of(uint8_t action)
{
    return action == ACTION_CHANGED ? 'x' : letters[action];
}

static void print_list(const struct history *h, const struct step *s, FILE *to, bool brief)
{
    const uint64_t *tokens = h->tokens + s->tokens_at;
    if (s->count == 0)
        fprintf(to, " -");
    for (uint32_t i = 0; i < s->count; i++) {
        if (brief && s->count > 12 && i == 4) {
            fprintf(to, ",...");
            i = s->count - 4;
        }
        fprintf(to, "%s%" PRIu64, i == 0 ? " " : ",", tokens[i]);
    }
    if (brief)
        fprintf(to, " (%u)", s->count);
}

static void print_step(const struct history *h, const struct step *s, FILE *to, bool brief)
{
    fprintf(to, "%c %s", letter_of(s->action), h->keys[s->key].name);
    if (s->action == ACTION_LIST)
        print_list(h, s, to, brief);
    else if (s->action == ACTION_READ || s->action == ACTION_WRITE || s->action == ACTION_APPEND || s->action == ACTION_EXISTS ||
             (s->action == ACTION_ADD && s->value != 0))
        fprintf(to, " %" PRIu64, s->value);
    if ((s->action == ACTION_APPEND || s->action == ACTION_EXISTS) && s->count != 0)
        fprintf(to, " %u", s->count);
}

void history_print_operation(const struct history *h, const struct operation *op, FILE *to, bool brief)
{
    fprintf(to, "%u %" PRIu64 "-", op->process, op->invoke);
    if (op->returned == HISTORY_NEVER)
        fprintf(to, "?");
    else
        fprintf(to, "%" PRIu64, op->returned);
    fprintf(to, " %s |", op->name);
    for (uint32_t i = 0; i < op->step_count; i++) {
        fprintf(to, i == 0 ? " " : "; ");
        print_step(h, &history_steps(h, op)[i], to, brief);
    }
}

void history_print(const struct history *h, FILE *to)
{
    for (uint64_t i = 0; i < h->operation_count; i++) {
        history_print_operation(h, &h->operations[i], to, false);
        fprintf(to, "\n");
    }
}

static bool parse_list(struct history *h, struct step *s, char *text)
{
    s->tokens_at = h->token_count;
    if (strcmp(text, "-") == 0)
        return true;
    for (char *rest, *word = strtok_r(text, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest)) {
        char *end;
        uint64_t token = strtoull(word, &end, 10);
        if (*end != '\0' || token == 0)
            return false;
        history_tokens(h, &token, 1);
        s->count++;
    }
    return s->count > 0;
}

static bool parse_step(struct history *h, struct step *s, char *text)
{
    char name[HISTORY_NAME_MAX], action;
    int used = 0;
    if (sscanf(text, " %c %23s%n", &action, name, &used) != 2)
        return false;
    static const char kinds[] = "rtlcs";
    const char *known = strchr("rwalie", action);
    if ((known == NULL && action != 'x') || strchr(kinds, name[0]) == NULL)
        return false;
    *s = (struct step){ .key = history_key(h, name),
                        .action = action == 'x' ? ACTION_CHANGED : (uint8_t)(strchr(letters, action) - letters) };
    char *rest = text + used;
    if (s->action == ACTION_LIST) {
        rest += strspn(rest, " ");
        rest[strcspn(rest, " \n")] = '\0';
        return parse_list(h, s, rest);
    }
    int numbers = sscanf(rest, "%" SCNu64 " %u", &s->value, &s->count);
    return numbers >= 1 || s->action == ACTION_CHANGED || s->action == ACTION_ADD;
}

// Names are kept for the life of the process: operations point to them.
static const char *kept_name(const char *name)
{
    static char names[64][24];
    for (int i = 0; i < 64; i++) {
        if (names[i][0] == '\0')
            snprintf(names[i], sizeof names[i], "%s", name);
        if (strcmp(names[i], name) == 0)
            return names[i];
    }
    return "?";
}

static bool parse_line(struct history *h, char *line)
{
    struct operation op = { 0 };
    struct step steps[HISTORY_STEPS_MAX];
    char name[24], returned[24];
    uint32_t count = 0;
    char *bar = strchr(line, '|');
    if (bar == NULL || sscanf(line, "%u %" SCNu64 "-%23s %23s", &op.process, &op.invoke, returned, name) != 4)
        return false;
    op.returned = returned[0] == '?' ? HISTORY_NEVER : strtoull(returned, NULL, 10);
    op.name = kept_name(name);
    if (op.returned < op.invoke)
        return false;
    for (char *rest, *word = strtok_r(bar + 1, ";\n", &rest); word != NULL; word = strtok_r(NULL, ";\n", &rest))
        if (count == HISTORY_STEPS_MAX || !parse_step(h, &steps[count++], word))
            return false;
    history_add(h, &op, steps, count);
    return true;
}

long history_parse(struct history *h, FILE *from)
{
    char *line = NULL;
    size_t cap = 0;
    long number = 0, wrong = 0;
    while (wrong == 0 && getline(&line, &cap, from) >= 0) {
        number++;
        size_t blank = strspn(line, " \t\n");
        if (line[blank] != '\0' && line[blank] != '#' && !parse_line(h, line))
            wrong = number;
    }
    free(line);
    return wrong;
}
