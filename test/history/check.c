// SPDX-License-Identifier: Apache-2.0
#include "test/history/check.h"

#include "test/history/versions.h"

FILE *report_begin(struct report *r, const char *claim)
{
    if (r->claim != NULL)
        return NULL;
    r->claim = claim;
    r->to = open_memstream(&r->text, &r->size);
    assert(r->to != NULL);
    return r->to;
}

void report_operation(const struct report *r, FILE *to, uint32_t op)
{
    if (op == NO_OP)
        return;
    fprintf(to, "    ");
    history_print_operation(r->h, &r->h->operations[op], to, true);
    fprintf(to, "\n");
}

bool history_check(const struct history *h, struct verdict *out)
{
    struct report r = { .h = h };
    struct versions v;
    if (versions_init(&v, &r) && check_registers(&v, &r) && check_watch(h, &r) && check_search(h, &r))
        (void)check_dependencies(&v, &r);
    versions_deinit(&v);
    if (r.to != NULL)
        fclose(r.to);
    *out = (struct verdict){ .claim = r.claim, .text = r.text, .checked = h->operation_count };
    return r.claim == NULL;
}

void verdict_deinit(struct verdict *v)
{
    free(v->text);
    *v = (struct verdict){ 0 };
}
