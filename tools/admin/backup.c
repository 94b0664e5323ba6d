// SPDX-License-Identifier: Apache-2.0
// A copy of a directory that a server may be using. The source is only read; nothing holds the server up. Consistent all the same:
//
//   - the manifest is read first. Its snapshots and segments stay until a later manifest no longer needs them, which takes a whole new
//     snapshot of the server. If one is finished while we copy, files may vanish or be made new under us: then the copy starts again
//     (ATTEMPTS times).
//   - of each segment frames are copied from the first one on until one does not verify. So what is copied of the log is a prefix of it,
//     and no frame is there whose durable LSN speaks of one that is missing.
//   - all that the manifest's witness calls durable was on the disk before we read it, so it is in the prefix.
//
// At the end recovery reads the copy as a server would; if it objects, the copy goes again.
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "persist/recover.h"
#include "tools/admin/admin.h"
#include "tools/admin/copy.h"
#include "tools/admin/frames.h"
#include "tools/admin/out.h"
#include "tools/admin/text.h"

#define ATTEMPTS 5

struct backup {
    const struct admin *admin;
    struct disk *from, *to;
    struct manifest manifest;
    struct copy_state log;
    struct recover_report report;
};

static void on_warning(void *context, const char *text)
{
    const struct backup *b = context;
    fprintf(b->admin->out, "warning: %s\n", text);
}

// Older sets are taken along where they hold: they are what a restore to an earlier point needs.
static int copy_sets(struct backup *b)
{
    struct manifest *m = &b->manifest;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m->set_count; i++) {
        int rc = copy_snapshot_set(b->from, b->to, &m->sets[i], NULL);
        if (rc != 0 && (rc != -ENOENT || i == 0))
            return rc;
        if (rc == 0)
            m->sets[kept++] = m->sets[i];
        else
            fprintf(b->admin->out, "warning: snapshot %" PRIu64 " is not there and is left out\n", m->sets[i].id);
    }
    m->set_count = kept;
    return 0;
}

static int copy_log(struct backup *b)
{
    static const struct copy_limit ALL = { .lsn = UINT64_MAX, .time_ms = INT64_MAX };
    struct copy_line line;
    int rc = copy_line_find(b->from, &b->manifest, &line);
    for (uint32_t i = 0; i < line.count && rc == 0; i++) {
        struct copy_limit limit = ALL;
        limit.lsn = line.bounds[i];
        rc = copy_segment(b->from, b->to, line.ids[i], NULL, &limit, &b->log);
    }
    copy_line_free(&line);
    return rc;
}

// Reads what was written as a server would.
static int verify(struct backup *b)
{
    const struct recover_options options = { .verify_only = true, .warn = on_warning, .context = b };
    struct recover *r;
    struct recover_item item;
    int rc = recover_open(&r, b->to, &options);
    if (rc != 0)
        return rc;
    while ((rc = recover_next(r, &item)) == 0)
        continue;
    b->report = *recover_report(r);
    recover_free(r);
    if (rc < 0)
        return rc;
    return b->report.verdict == RECOVER_CLEAN || b->report.verdict == RECOVER_CUT ? 0 : -EBADMSG;
}

static int attempt(struct backup *b)
{
    const char *why;
    b->log = (struct copy_state){ .frames = 0 };
    b->report.text[0] = '\0';
    int rc = copy_wipe(b->to);
    if (rc == 0)
        rc = admin_manifest(b->from, &b->manifest, &why);
    if (rc != 0)
        return rc;
    b->manifest.flags &= ~(uint32_t)MANIFEST_CLEAN;
    rc = copy_sets(b);
    if (rc == 0)
        rc = copy_log(b);
    b->manifest.hidden_segment = 0; // none of these was copied
    if (b->log.unit_lsn > b->manifest.witness)
        b->manifest.witness = b->log.unit_lsn; // so that what the copy may lose later is missed
    if (rc == 0)
        rc = out_manifest(b->to, &b->manifest);
    return rc == 0 ? verify(b) : rc;
}

// Whether the server let go of anything that we were to copy.
static bool has_moved(const struct backup *b)
{
    struct manifest now;
    const char *why;
    if (admin_manifest(b->from, &now, &why) != 0)
        return true;
    return now.first_segment != b->manifest.first_segment || now.set_count != b->manifest.set_count ||
           (now.set_count > 0 && now.sets[0].id != b->manifest.sets[0].id);
}

static int give_up(struct backup *b, int rc)
{
    if (rc == 1)
        return admin_trouble(b->admin, "%s: no data is here (no manifest)", b->from->path);
    admin_undo(b->admin, b->to);
    if (rc != -EBADMSG && rc != -ENOENT)
        return admin_trouble(b->admin, "%s: %s", b->from->path, strerror(-rc));
    admin_trouble(b->admin, "%s is damaged: %s", b->from->path, b->report.text[0] != '\0' ? b->report.text : "skerry-admin check says how");
    return ADMIN_DAMAGE;
}

int admin_backup(const struct admin *a, struct disk *from, struct disk *to)
{
    struct backup b = { .admin = a, .from = from, .to = to };
    int rc = admin_is_empty(to);
    if (rc != 0)
        return admin_trouble(a, "%s: %s", to->path, strerror(-rc));
    for (uint32_t i = 0; i < ATTEMPTS; i++) {
        rc = attempt(&b);
        if (rc == 0 || rc == 1 || (rc != -EBADMSG && rc != -ENOENT) || !has_moved(&b))
            break;
        fprintf(a->out, "the server has made a new snapshot meanwhile: once more from the beginning\n");
    }
    if (rc != 0)
        return give_up(&b, rc);
    fprintf(a->out,
            "backup of %s: %" PRIu64 " entries of %" PRIu32 " snapshots, %" PRIu64 " frames of the log, last LSN %" PRIu64 "; verified\n",
            from->path, b.report.entries, b.manifest.set_count, b.log.frames, b.log.unit_lsn);
    return ADMIN_GOOD;
}
