// SPDX-License-Identifier: Apache-2.0
// What verifies is written out again with an identity, sequences and LSNs of its own, so that the new directory has no holes. What lay in
// a hole is lost, and keys that changed there have the value from before it, or what later changes made of that: the list says which LSNs.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "persist/recover.h"
#include "tools/admin/admin.h"
#include "tools/admin/out.h"

#define SEGMENT_SIZE (64u * 1024 * 1024)

struct salvage {
    const struct admin *admin;
    struct out out;
    struct buf copy;
    bool in_log;
};

static void on_warning(void *context, const char *text)
{
    const struct salvage *s = context;
    fprintf(s->admin->out, "%s\n", text);
}

static int add_run(struct salvage *s, struct slice run)
{
    const uint8_t *at = run.data;
    uint64_t left = run.len;
    struct snapshot_entry e;
    int rc;
    while ((rc = snapshot_entry_next(&e, &at, &left)) == 0) {
        int failed = out_entry(&s->out, &e);
        if (failed != 0)
            return failed;
    }
    return rc == 1 ? 0 : rc;
}

static int add_unit(struct salvage *s, const struct recover_item *item)
{
    int rc = s->in_log ? 0 : out_snapshot_end(&s->out);
    s->in_log = true;
    s->copy.len = 0;
    buf_append_slice(&s->copy, item->bytes);
    if (s->copy.failed)
        return -ENOMEM;
    return rc != 0 ? rc : out_unit(&s->out, s->copy.data, s->copy.len, item->watermarks);
}

static int add(struct salvage *s, const struct recover_item *item)
{
    switch (item->piece) {
    case RECOVER_ENTRY_RUN:
        return add_run(s, item->bytes);
    case RECOVER_UNIT:
        return add_unit(s, item);
    case RECOVER_RESTART:
        out_restart(&s->out);
        return 0;
    }
    return -EINVAL;
}

static int copy_all(struct salvage *s, struct recover *r, uint32_t shards, uint32_t route_mode, struct disk *to)
{
    struct recover_item item;
    int rc = out_init(&s->out, to, shards, route_mode, SEGMENT_SIZE), next = 0;
    while (rc == 0 && (next = recover_next(r, &item)) == 0)
        rc = add(s, &item);
    if (rc == 0 && next < 0)
        rc = next;
    if (rc == 0 && !s->in_log)
        rc = out_snapshot_end(&s->out);
    return rc == 0 ? out_finish(&s->out) : rc;
}

static int report(const struct salvage *s, const struct recover_report *r)
{
    FILE *out = s->admin->out;
    bool whole = r->verdict == RECOVER_CLEAN || r->verdict == RECOVER_CUT;
    if (r->text[0] != '\0')
        fprintf(out, "%s\n", r->text);
    fprintf(out, "saved: %" PRIu64 " entries of a snapshot, %" PRIu64 " records of the log\n", s->out.entries, s->out.records);
    fprintf(out, whole ? "nothing that was acknowledged is lost\n" : "not all could be saved\n");
    return whole ? ADMIN_GOOD : ADMIN_DAMAGE;
}

int admin_salvage(const struct admin *a, struct disk *from, struct disk *to)
{
    struct salvage s = { .admin = a, .out = { .fd = -1 } };
    const struct recover_options options = { .salvage = true, .warn = on_warning, .context = &s };
    struct recover *r;
    struct log_origin origin;
    struct manifest m;
    int rc = admin_is_empty(to);
    if (rc != 0)
        return admin_trouble(a, "%s: %s", to->path, strerror(-rc));
    if ((rc = recover_open(&r, from, &options)) != 0)
        return admin_trouble(a, "%s: %s", from->path, strerror(-rc));
    buf_init(&s.copy, BUF_NO_LIMIT);
    recover_origin(r, &origin, &m);
    if (origin.shards == 0) { // nothing says whose files these are
        int status =
            admin_trouble(a, "%s: %s", from->path, recover_report(r)->text[0] != '\0' ? recover_report(r)->text : "no data is here");
        recover_free(r);
        return status;
    }
    rc = copy_all(&s, r, origin.shards, m.route_mode, to);
    int status = rc == 0 ? report(&s, recover_report(r)) : admin_trouble(a, "%s: %s", to->path, strerror(-rc));
    recover_free(r);
    out_deinit(&s.out);
    if (rc != 0)
        admin_undo(a, to);
    buf_deinit(&s.copy);
    return status;
}
