// SPDX-License-Identifier: Apache-2.0
// A backup becomes a data directory again, as of its end, of a log position, or of a moment. The copy has a history id of its own: it forks
// from what others (the server that went on, its replicas) may have seen, and must never be taken for that.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "persist/recover.h"
#include "tools/admin/admin.h"
#include "tools/admin/copy.h"
#include "tools/admin/frames.h"
#include "tools/admin/out.h"
#include "tools/admin/text.h"

struct restore {
    const struct admin *admin;
    struct disk *from, *to;
    const struct restore_point *point;
    struct manifest manifest;
    struct copy_line line;
    struct uuid history;
    struct copy_state log;
    uint64_t cut; // the last LSN that is taken over
};

// The LSN that a moment means: of the last frame closed until then, before the first one that was closed later.
static int find_cut(struct restore *r)
{
    r->cut = r->point->lsn;
    if (r->point->time_ms == RESTORE_ALL)
        return 0;
    for (uint32_t i = 0; i < r->line.count; i++) {
        char name[SEGMENT_NAME_MAX];
        struct frames f;
        struct frame_head h;
        const uint8_t *frame;
        const char *why;
        uint64_t offset;
        segment_name(r->line.ids[i], name);
        int rc = frames_open(&f, r->from, name, &why);
        if (rc != 0)
            return rc;
        while ((rc = frames_next(&f, &h, &frame, &offset)) == 0 && h.lsn <= r->line.bounds[i] && h.made_ms <= r->point->time_ms)
            continue;
        frames_close(&f);
        if (rc < 0)
            return rc;
        if (rc == 0 && h.lsn <= r->line.bounds[i]) {
            r->cut = h.lsn - 1 < r->cut ? h.lsn - 1 : r->cut;
            return 0;
        }
    }
    return 0;
}

// Snapshots that were there at that point stay in the manifest. Returns whether that, with the log, is enough.
static bool choose_sets(struct restore *r)
{
    struct manifest *m = &r->manifest;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->set_count; i++) {
        bool log_says = m->sets[i].lsn <= r->cut && r->line.count > 0;
        bool time_says = r->line.count == 0 && m->sets[i].made_ms <= r->point->time_ms && m->sets[i].lsn <= r->cut;
        if (log_says || time_says)
            m->sets[kept++] = m->sets[i];
    }
    m->set_count = kept;
    if (kept > 0)
        return r->line.count == 0 || r->line.firsts[0] <= m->sets[0].lsn + 1;
    return r->line.count > 0 && r->line.firsts[0] == 1;
}

static int copy_all(struct restore *r)
{
    int rc = 0;
    for (uint32_t i = 0; i < r->manifest.set_count && rc == 0; i++)
        rc = copy_snapshot_set(r->from, r->to, &r->manifest.sets[i], &r->history);
    for (uint32_t i = 0; i < r->line.count && rc == 0 && r->line.firsts[i] <= r->cut; i++) {
        const struct copy_limit limit = { .lsn = r->cut < r->line.bounds[i] ? r->cut : r->line.bounds[i], .time_ms = INT64_MAX };
        rc = copy_segment(r->from, r->to, r->line.ids[i], &r->history, &limit, &r->log);
    }
    return rc;
}

// All that the manifest knows to be there, up to the point, has been found.
static bool is_complete(const struct restore *r)
{
    const struct manifest *m = &r->manifest;
    uint64_t held = m->set_count > 0 ? m->sets[0].lsn : 0, wanted = m->witness < r->cut ? m->witness : r->cut;
    return held >= wanted || r->log.last_lsn >= wanted;
}

static int finish(struct restore *r)
{
    struct manifest *m = &r->manifest;
    m->generation = 1;
    m->history = r->history;
    m->flags &= ~(uint32_t)MANIFEST_CLEAN;
    uint64_t held = m->set_count > 0 ? m->sets[0].lsn : 0;
    m->witness = r->log.unit_lsn > held ? r->log.unit_lsn : held;
    return out_manifest(r->to, m);
}

static int verify(const struct restore *r)
{
    const struct recover_options options = { .verify_only = true };
    struct recover *reader;
    struct recover_item item;
    int rc = recover_open(&reader, r->to, &options);
    if (rc != 0)
        return rc;
    while ((rc = recover_next(reader, &item)) == 0)
        continue;
    const struct recover_report *report = recover_report(reader);
    bool good = report->verdict == RECOVER_CLEAN || report->verdict == RECOVER_CUT;
    if (rc == 1 && !good)
        admin_trouble(r->admin, "%s: %s", r->to->path, report->text);
    recover_free(reader);
    return rc < 0 ? rc : good ? 0 : -EBADMSG;
}

static int run(struct restore *r)
{
    const char *why;
    int rc = admin_manifest(r->from, &r->manifest, &why);
    if (rc == 1)
        return admin_trouble(r->admin, "%s: no data is here (no manifest)", r->from->path);
    if (rc == -EBADMSG) {
        admin_trouble(r->admin, "%s is damaged: the manifest: %s", r->from->path, why);
        return ADMIN_DAMAGE;
    }
    if (rc == 0)
        rc = copy_line_find(r->from, &r->manifest, &r->line);
    if (rc == 0)
        rc = find_cut(r);
    bool reaches = rc == 0 && choose_sets(r);
    if (rc == 0 && !reaches && r->point->lsn == UINT64_MAX && r->point->time_ms == RESTORE_ALL)
        rc = -EBADMSG; // something is missing
    if (rc == 0 && !reaches)
        return admin_trouble(r->admin, "%s does not reach back to that point: no snapshot is from before it, and the log begins later",
                             r->from->path);
    r->from->ops->entropy(r->from, &r->history, sizeof r->history);
    if (rc == 0)
        rc = copy_all(r);
    if (rc == 0 && !is_complete(r))
        rc = -EBADMSG;
    if (rc == 0)
        rc = finish(r);
    if (rc == 0)
        rc = verify(r);
    if (rc == -EBADMSG || rc == -ENOENT) {
        admin_trouble(r->admin, "%s is damaged: skerry-admin check says how, skerry-admin salvage takes what is left", r->from->path);
        return ADMIN_DAMAGE;
    }
    return rc == 0 ? ADMIN_GOOD : admin_trouble(r->admin, "%s: %s", r->to->path, strerror(-rc));
}

int admin_restore(const struct admin *a, struct disk *from, struct disk *to, const struct restore_point *point)
{
    struct restore r = { .admin = a, .from = from, .to = to, .point = point };
    int rc = admin_is_empty(to);
    if (rc != 0)
        return admin_trouble(a, "%s: %s", to->path, strerror(-rc));
    int status = run(&r);
    copy_line_free(&r.line);
    if (status != ADMIN_GOOD) {
        admin_undo(a, to);
        return status;
    }
    if (r.manifest.witness == 0)
        fprintf(a->out, "restored: a snapshot, no log\n");
    else if (r.log.unit_ms != 0)
        fprintf(a->out, "restored up to LSN %" PRIu64 ", written %s\n", r.manifest.witness, text_time(r.log.unit_ms).text);
    else
        fprintf(a->out, "restored up to LSN %" PRIu64 "\n", r.manifest.witness);
    return ADMIN_GOOD;
}
