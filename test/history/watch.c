// SPDX-License-Identifier: Apache-2.0
// An EXEC that was refused because of WATCH: somebody else must have written one of the keys between the call of WATCH and the reply of
// EXEC. Writers per key are sorted by their call; a running maximum of their ends answers "does one overlap?" in O(log n).
#include <string.h>

#include "test/history/versions.h"

struct writing {
    uint32_t key, process;
    uint64_t invoke, returned;
    uint64_t last_end; // of those of the key up to here
};

static bool writes(const struct step *s)
{
    return s->action == ACTION_WRITE || s->action == ACTION_APPEND || s->action == ACTION_ADD;
}

static int by_key_and_call(const void *a, const void *b)
{
    const struct writing *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->invoke < y->invoke ? -1 : x->invoke > y->invoke;
}

static struct writing *collect(const struct history *h, uint64_t *count)
{
    struct writing *all = malloc((h->step_count + 1) * sizeof *all);
    assert(all != NULL);
    *count = 0;
    for (uint64_t i = 0; i < h->operation_count; i++) {
        const struct operation *o = &h->operations[i];
        for (uint32_t k = 0; k < o->step_count; k++)
            if (writes(&history_steps(h, o)[k]))
                all[(*count)++] = (struct writing){ history_steps(h, o)[k].key, o->process, o->invoke, o->returned, 0 };
    }
    qsort(all, *count, sizeof *all, by_key_and_call);
    for (uint64_t i = 0; i < *count; i++) {
        bool first = i == 0 || all[i - 1].key != all[i].key;
        all[i].last_end = first || all[i - 1].last_end < all[i].returned ? all[i].returned : all[i - 1].last_end;
    }
    return all;
}

// Writers of the key called before the end; from the latest backwards while one of them may still have gone on.
static bool changed(const struct writing *all, uint64_t count, const struct operation *o, uint32_t key)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if (all[middle].key < key || (all[middle].key == key && all[middle].invoke <= o->returned))
            low = middle + 1;
        else
            high = middle;
    }
    while (low-- > 0 && all[low].key == key && all[low].last_end >= o->invoke)
        if (all[low].process != o->process && all[low].returned >= o->invoke)
            return true;
    return false;
}

static bool explained(const struct history *h, const struct writing *all, uint64_t count, const struct operation *o)
{
    bool marked = false;
    for (uint32_t k = 0; k < o->step_count; k++) {
        const struct step *s = &history_steps(h, o)[k];
        if (s->action != ACTION_CHANGED)
            continue;
        if (changed(all, count, o, s->key))
            return true;
        marked = true;
    }
    return !marked;
}

bool check_watch(const struct history *h, struct report *r)
{
    uint64_t count;
    struct writing *all = collect(h, &count);
    bool good = true;
    for (uint32_t i = 0; good && i < h->operation_count; i++) {
        good = explained(h, all, count, &h->operations[i]);
        FILE *to = good ? NULL : report_begin(r, "EXEC refused without a change");
        if (to != NULL) {
            fprintf(to, "nobody wrote the watched keys meanwhile\n");
            report_operation(r, to, i);
        }
    }
    free(all);
    return good;
}
