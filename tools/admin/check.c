// SPDX-License-Identifier: Apache-2.0
// Recovery without handing anything out, and then every snapshot set that the manifest lists: recovery itself looks no further than the
// newest one that holds.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "persist/recover.h"
#include "persist/snapshot.h"
#include "tools/admin/admin.h"
#include "tools/admin/text.h"

struct set_check {
    uint64_t entries, bytes;
    bool good;
    char why[160];
};

struct checked {
    const struct admin *admin;
    struct manifest manifest;
    int manifest_rc;
    const char *manifest_why;
    struct recover_report report;
    struct set_check sets[MANIFEST_SETS];
    struct buf warnings; // each ended by a zero byte
    uint32_t warning_count;
};

static const char *verdict_name(enum recover_verdict v)
{
    static const char *const NAMES[] = { "empty", "clean", "cut", "rot", "foreign", "broken", "snapshot", "io" };
    return NAMES[v];
}

static void on_warning(void *context, const char *text)
{
    struct checked *c = context;
    c->warning_count++;
    buf_append(&c->warnings, text, strlen(text) + 1);
}

static int check_file(struct disk *d, const struct manifest *m, const struct snapshot_set *set, uint32_t file, struct set_check *out)
{
    struct snapshot_reader *r;
    struct slice run;
    struct snapshot_totals totals;
    const char *why = "it cannot be read";
    int rc = snapshot_reader_open(&r, d, set->id, file, &m->store, &why);
    if (rc == 0) {
        snapshot_reader_totals(r, &totals);
        while ((rc = snapshot_reader_next(r, &run, &why)) == 0)
            out->bytes += run.len;
        out->entries += totals.entries;
        snapshot_reader_free(r);
    }
    if (rc == 1)
        return 0;
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(set->id, file, name);
    snprintf(out->why, sizeof out->why, "%s: %s", name, rc == -ENOENT ? "it is not there" : rc == -EBADMSG ? why : strerror(-rc));
    return rc;
}

static int check_set(struct disk *d, const struct manifest *m, const struct snapshot_set *set, struct set_check *out)
{
    int rc = 0;
    for (uint32_t file = 0; file < set->files && rc == 0; file++)
        rc = check_file(d, m, set, file, out);
    if (rc == 0 && out->entries != set->entries) {
        snprintf(out->why, sizeof out->why, "it holds %" PRIu64 " entries, and the manifest says %" PRIu64, out->entries, set->entries);
        rc = -EBADMSG;
    }
    out->good = rc == 0;
    return rc == -ENOMEM ? rc : 0;
}

static int run(struct checked *c, struct disk *d)
{
    const struct recover_options options = { .verify_only = true, .warn = on_warning, .context = c };
    struct recover *r;
    struct recover_item item;
    c->manifest_rc = admin_manifest(d, &c->manifest, &c->manifest_why);
    if (c->manifest_rc < 0 && c->manifest_rc != -EBADMSG)
        return c->manifest_rc;
    int rc = recover_open(&r, d, &options);
    if (rc != 0)
        return rc;
    while ((rc = recover_next(r, &item)) == 0)
        continue;
    c->report = *recover_report(r);
    recover_free(r);
    for (uint32_t i = 0; rc == 1 && c->manifest_rc == 0 && i < c->manifest.set_count; i++) {
        int failed = check_set(d, &c->manifest, &c->manifest.sets[i], &c->sets[i]);
        if (failed != 0)
            return failed;
    }
    return rc == 1 ? 0 : rc;
}

static int exit_of(const struct checked *c)
{
    int worst = ADMIN_GOOD;
    switch (c->report.verdict) {
    case RECOVER_CLEAN:
    case RECOVER_CUT:
        break;
    case RECOVER_EMPTY:
    case RECOVER_IO:
        return ADMIN_TROUBLE;
    case RECOVER_ROT:
    case RECOVER_FOREIGN:
    case RECOVER_BROKEN:
    case RECOVER_SNAPSHOT:
        worst = ADMIN_DAMAGE;
        break;
    }
    for (uint32_t i = 0; c->manifest_rc == 0 && i < c->manifest.set_count; i++)
        if (!c->sets[i].good)
            worst = ADMIN_DAMAGE;
    return worst;
}

static void print_text(const struct checked *c)
{
    FILE *out = c->admin->out;
    const struct manifest *m = &c->manifest;
    const char *warning = (const char *)c->warnings.data;
    for (uint32_t i = 0; i < c->warning_count; i++, warning += strlen(warning) + 1)
        fprintf(out, "warning   %s\n", warning);
    if (c->manifest_rc == 0)
        fprintf(out, "manifest  generation %" PRIu64 ", store %s, %" PRIu32 " shards, needs segments from %" PRIu64 " on%s\n",
                m->generation, text_uuid(&m->store).text, m->shards, m->first_segment,
                m->flags & MANIFEST_CLEAN ? ", stopped cleanly" : "");
    for (uint32_t i = 0; c->manifest_rc == 0 && i < m->set_count; i++)
        fprintf(out, "snapshot  %" PRIu64 ": made %s, %" PRIu64 " entries, holds the log up to %" PRIu64 ": %s\n", m->sets[i].id,
                text_time(m->sets[i].made_ms).text, m->sets[i].entries, m->sets[i].lsn, c->sets[i].good ? "good" : c->sets[i].why);
    fprintf(out, "log       %" PRIu64 " frames, %" PRIu64 " units, %" PRIu64 " records, last LSN %" PRIu64 "\n", c->report.frames,
            c->report.units, c->report.records, c->report.lsn);
    fprintf(out, "%s%s%s%s: %s\n", verdict_name(c->report.verdict), c->report.rule[0] != '\0' ? " (" : "", c->report.rule,
            c->report.rule[0] != '\0' ? ")" : "", c->report.verdict == RECOVER_EMPTY ? "no data is here" : c->report.text);
}

static void print_json_manifest(const struct checked *c)
{
    FILE *out = c->admin->out;
    const struct manifest *m = &c->manifest;
    fprintf(out, ",\"manifest\":{\"generation\":%" PRIu64 ",\"store\":\"%s\",\"history\":\"%s\",\"shards\":%" PRIu32, m->generation,
            text_uuid(&m->store).text, text_uuid(&m->history).text, m->shards);
    fprintf(out, ",\"first_segment\":%" PRIu64 ",\"witness\":%" PRIu64 ",\"clean\":%s},\"snapshots\":[", m->first_segment, m->witness,
            m->flags & MANIFEST_CLEAN ? "true" : "false");
    for (uint32_t i = 0; i < m->set_count; i++) {
        fprintf(out, "%s{\"id\":%" PRIu64 ",\"lsn\":%" PRIu64 ",\"entries\":%" PRIu64 ",\"made_ms\":%" PRId64 ",\"good\":%s,\"why\":",
                i == 0 ? "" : ",", m->sets[i].id, m->sets[i].lsn, m->sets[i].entries, m->sets[i].made_ms,
                c->sets[i].good ? "true" : "false");
        text_json_cstr(out, c->sets[i].why);
        fputc('}', out);
    }
    fputc(']', out);
}

static void print_json(const struct checked *c, int status)
{
    FILE *out = c->admin->out;
    const struct recover_report *r = &c->report;
    fprintf(out, "{\"good\":%s,\"verdict\":\"%s\",\"rule\":\"%s\",\"text\":", status == ADMIN_GOOD ? "true" : "false",
            verdict_name(r->verdict), r->rule);
    text_json_cstr(out, r->text);
    fprintf(out, ",\"lsn\":%" PRIu64 ",\"lost_from\":%" PRIu64 ",\"lost_to\":%" PRIu64 ",\"file\":", r->lsn, r->lost_from, r->lost_to);
    text_json_cstr(out, r->file);
    fprintf(out, ",\"offset\":%" PRIu64 ",\"frames\":%" PRIu64 ",\"units\":%" PRIu64 ",\"records\":%" PRIu64 ",\"entries\":%" PRIu64,
            r->offset, r->frames, r->units, r->records, r->entries);
    if (c->manifest_rc == 0)
        print_json_manifest(c);
    fputs(",\"warnings\":[", out);
    const char *warning = (const char *)c->warnings.data;
    for (uint32_t i = 0; i < c->warning_count; i++, warning += strlen(warning) + 1) {
        fputs(i == 0 ? "" : ",", out);
        text_json_cstr(out, warning);
    }
    fputs("]}\n", out);
}

int admin_check(const struct admin *a, struct disk *d)
{
    struct checked c = { .admin = a };
    buf_init(&c.warnings, BUF_NO_LIMIT);
    int rc = run(&c, d), status;
    if (rc != 0) {
        status = admin_trouble(a, "%s: %s", d->path, strerror(-rc));
    } else {
        status = exit_of(&c);
        if (a->json)
            print_json(&c, status);
        else
            print_text(&c);
    }
    buf_deinit(&c.warnings);
    return status;
}
