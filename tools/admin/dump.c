// SPDX-License-Identifier: Apache-2.0
// Prints what lies in the files, a line for each thing, without judging: a segment ends at its first frame that does not verify.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "persist/snapshot.h"
#include "tools/admin/admin.h"
#include "tools/admin/frames.h"
#include "tools/admin/text.h"

struct dumper {
    const struct admin *admin;
    struct disk *disk;
    const struct dump_range *range;
    struct buf chain; // payloads of a chain that has begun
    bool in_chain;
    int status;
};

// ---- one thing

static void key_value(const struct dumper *u, const char *name, struct slice bytes)
{
    FILE *out = u->admin->out;
    if (u->admin->json) {
        fprintf(out, ",\"%s\":", name);
        text_json(out, bytes);
    } else {
        fputc(' ', out);
        text_bytes(out, bytes);
    }
}

static void deadline(const struct dumper *u, int64_t deadline_ms)
{
    if (deadline_ms >= 0)
        fprintf(u->admin->out, u->admin->json ? ",\"deadline_ms\":%" PRId64 : " PXAT %" PRId64, deadline_ms);
}

static void arguments(const struct dumper *u, struct slice value)
{
    struct slice argv[64];
    FILE *out = u->admin->out;
    int count = effect_args(value, argv, sizeof argv / sizeof argv[0]);
    if (count < 0) {
        key_value(u, "raw", value);
        return;
    }
    if (!u->admin->json) {
        for (int i = 0; i < count; i++)
            key_value(u, "", argv[i]);
        return;
    }
    fputs(",\"argv\":[", out);
    for (int i = 0; i < count; i++) {
        fputs(i == 0 ? "" : ",", out);
        text_json(out, argv[i]);
    }
    fputc(']', out);
}

static void record(struct dumper *u, uint64_t lsn, uint32_t shard, const struct record *r)
{
    static const char *const OPS[] = { "?", "SET", "DELETE", "EXPIRE", "EFFECT" };
    FILE *out = u->admin->out;
    const char *op = r->op == RECORD_EXPIRE && r->deadline_ms < 0 ? "PERSIST" : OPS[r->op];
    if (u->admin->json)
        fprintf(out, "{\"lsn\":%" PRIu64 ",\"shard\":%" PRIu32 ",\"sequence\":%" PRIu64 ",\"db\":%u,\"op\":\"%s\"", lsn, shard, r->sequence,
                r->db, op);
    else
        fprintf(out, "  %" PRIu64 " shard %" PRIu32 " #%" PRIu64 " db %u %s", lsn, shard, r->sequence, r->db, op);
    key_value(u, "key", r->key);
    if (r->op == RECORD_SET)
        key_value(u, "value", r->value);
    if (r->op == RECORD_EFFECT)
        arguments(u, r->value);
    deadline(u, r->deadline_ms);
    fputs(u->admin->json ? "}\n" : "\n", out);
}

static void damage(struct dumper *u, const char *where, const char *what)
{
    if (u->admin->json) {
        fprintf(u->admin->out, "{\"damage\":");
        text_json_cstr(u->admin->out, where);
        fprintf(u->admin->out, ",\"why\":");
        text_json_cstr(u->admin->out, what);
        fputs("}\n", u->admin->out);
    } else {
        fprintf(u->admin->out, "damage %s: %s\n", where, what);
    }
    u->status = ADMIN_DAMAGE;
}

static void unit(struct dumper *u, uint64_t lsn, struct slice bytes)
{
    const uint8_t *at = bytes.data;
    uint64_t left = bytes.len;
    struct sub_batch b;
    char where[32];
    int rc;
    snprintf(where, sizeof where, "LSN %" PRIu64, lsn);
    while ((rc = sub_batch_next(&b, &at, &left)) == 0) {
        const uint8_t *next = b.records;
        uint32_t taken = 0;
        struct record r;
        while ((rc = record_next(&r, &b, &next, &taken)) == 0)
            record(u, lsn, b.shard, &r);
        if (rc < 0)
            damage(u, where, "a record does not parse");
    }
    if (rc < 0)
        damage(u, where, "a sub-batch does not parse");
}

// ---- segments

static void frame_flags(const struct dumper *u, const struct frame_head *h)
{
    static const char *const NAMES[] = { "seal", "stop", "txn", "first", "middle", "last" };
    FILE *out = u->admin->out;
    bool any = false;
    for (uint32_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if ((h->flags & 1u << i) == 0)
            continue;
        if (u->admin->json)
            fprintf(out, "%s\"%s\"", any ? "," : "", NAMES[i]);
        else
            fprintf(out, " %s", NAMES[i]);
        any = true;
    }
}

static void frame(struct dumper *u, const struct frame_head *h, const uint8_t *bytes, uint64_t offset)
{
    FILE *out = u->admin->out;
    struct slice payload = slice_of(bytes + FRAME_HEAD, h->payload);
    bool wanted = h->lsn >= u->range->from && h->lsn <= u->range->to;
    if (wanted && u->admin->json) {
        fprintf(out,
                "{\"frame\":%" PRIu64 ",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu32 ",\"durable\":%" PRIu64 ",\"made_ms\":%" PRId64
                ",\"flags\":[",
                h->lsn, offset, h->payload, h->durable, h->made_ms);
        frame_flags(u, h);
        fputs("]}\n", out);
    } else if (wanted) {
        fprintf(out, " frame %" PRIu64 " at %" PRIu64 ", %" PRIu32 " bytes, durable %" PRIu64 ", %s", h->lsn, offset, h->payload,
                h->durable, text_time(h->made_ms).text);
        frame_flags(u, h);
        fputc('\n', out);
    }
    if ((h->flags & (FRAME_FIRST | FRAME_MIDDLE | FRAME_LAST)) == 0) {
        u->in_chain = false;
        if (wanted)
            unit(u, h->lsn, payload);
        return;
    }
    if (h->flags & FRAME_FIRST) {
        u->chain.len = 0;
        u->in_chain = true;
    }
    buf_append_slice(&u->chain, payload);
    if ((h->flags & FRAME_LAST) != 0 && wanted && u->in_chain) // a chain belongs to the LSN of its last frame
        unit(u, h->lsn, buf_view(&u->chain));
    if (h->flags & FRAME_LAST)
        u->in_chain = false;
}

static int segment(struct dumper *u, const char *name)
{
    struct frames f;
    struct frame_head h;
    const uint8_t *bytes;
    const char *why;
    uint64_t offset;
    int rc = frames_open(&f, u->disk, name, &why);
    if (rc == -EBADMSG) {
        damage(u, name, why);
        return 0;
    }
    if (rc != 0)
        return rc;
    const struct segment_header *s = &f.header;
    if (u->admin->json)
        fprintf(u->admin->out,
                "{\"segment\":%" PRIu64 ",\"epoch\":%" PRIu64 ",\"first_lsn\":%" PRIu64 ",\"previous\":%" PRIu64 ",\"history\":\"%s\"}\n",
                s->id, s->epoch, s->first_lsn, s->previous_id, text_uuid(&s->history).text);
    else
        fprintf(u->admin->out, "segment %" PRIu64 ", first LSN %" PRIu64 "%s, behind segment %" PRIu64 "\n", s->id, s->first_lsn,
                s->first_lsn == 0 ? " (made ahead)" : "", s->previous_id);
    while ((rc = frames_next(&f, &h, &bytes, &offset)) == 0)
        frame(u, &h, bytes, offset);
    frames_close(&f);
    return rc == 1 ? 0 : rc;
}

// ---- snapshots

static void entries(struct dumper *u, struct slice run, const char *name)
{
    const uint8_t *at = run.data;
    uint64_t left = run.len;
    struct snapshot_entry e;
    int rc;
    while ((rc = snapshot_entry_next(&e, &at, &left)) == 0) {
        fprintf(u->admin->out, u->admin->json ? "{\"entry\":true,\"db\":%u" : "  entry db %u", e.db);
        key_value(u, "key", e.key);
        key_value(u, "value", e.value);
        deadline(u, e.deadline_ms);
        fputs(u->admin->json ? "}\n" : "\n", u->admin->out);
    }
    if (rc < 0)
        damage(u, name, "an entry does not parse");
}

static int snapshot(struct dumper *u, uint64_t set, uint32_t file, const struct uuid *store)
{
    struct snapshot_reader *r;
    struct snapshot_totals t;
    struct slice run;
    const char *why = "";
    char name[SNAPSHOT_NAME_MAX];
    snapshot_name(set, file, name);
    int rc = snapshot_reader_open(&r, u->disk, set, file, store, &why);
    if (rc == 0) {
        snapshot_reader_totals(r, &t);
        if (u->admin->json)
            fprintf(u->admin->out, "{\"snapshot\":%" PRIu64 ",\"file\":%" PRIu32 ",\"made_ms\":%" PRId64 ",\"entries\":%" PRIu64 "}\n", set,
                    file, t.id.made_ms, t.entries);
        else
            fprintf(u->admin->out, "snapshot %" PRIu64 ", file %" PRIu32 " of %" PRIu32 ", made %s, %" PRIu64 " entries\n", set, file,
                    t.id.files, text_time(t.id.made_ms).text, t.entries);
        while ((rc = snapshot_reader_next(r, &run, &why)) == 0)
            entries(u, run, name);
        snapshot_reader_free(r);
    }
    if (rc == -EBADMSG || rc == -ENOENT)
        damage(u, name, rc == -ENOENT ? "it is not there" : why);
    return rc == 1 || rc == -EBADMSG || rc == -ENOENT ? 0 : rc;
}

// ---- all

static void print_manifest(struct dumper *u, const struct manifest *m)
{
    FILE *out = u->admin->out;
    if (u->admin->json) {
        fprintf(out,
                "{\"manifest\":%" PRIu64 ",\"store\":\"%s\",\"history\":\"%s\",\"shards\":%" PRIu32 ",\"first_segment\":%" PRIu64
                ",\"witness\":%" PRIu64 ",\"sets\":[",
                m->generation, text_uuid(&m->store).text, text_uuid(&m->history).text, m->shards, m->first_segment, m->witness);
        for (uint32_t i = 0; i < m->set_count; i++)
            fprintf(out, "%s{\"id\":%" PRIu64 ",\"lsn\":%" PRIu64 ",\"files\":%" PRIu32 ",\"entries\":%" PRIu64 "}", i == 0 ? "" : ",",
                    m->sets[i].id, m->sets[i].lsn, m->sets[i].files, m->sets[i].entries);
        fputs("]}\n", out);
        return;
    }
    fprintf(out,
            "manifest generation %" PRIu64 ", store %s, history %s, %" PRIu32 " shards, first segment %" PRIu64 ", witness %" PRIu64 "%s\n",
            m->generation, text_uuid(&m->store).text, text_uuid(&m->history).text, m->shards, m->first_segment, m->witness,
            m->flags & MANIFEST_CLEAN ? ", stopped cleanly" : "");
    for (uint32_t i = 0; i < m->set_count; i++)
        fprintf(out, " set %" PRIu64 ": LSN %" PRIu64 ", %" PRIu32 " files, %" PRIu64 " entries, made %s\n", m->sets[i].id, m->sets[i].lsn,
                m->sets[i].files, m->sets[i].entries, text_time(m->sets[i].made_ms).text);
}

static int segments(struct dumper *u, const struct manifest *m)
{
    struct segment_ids ids;
    char name[SEGMENT_NAME_MAX];
    int rc = frames_list(u->disk, &ids);
    for (uint32_t i = 0; rc == 0 && i < ids.count; i++) {
        if (ids.ids[i] < m->first_segment || manifest_hides(m, ids.ids[i]))
            continue;
        segment_name(ids.ids[i], name);
        rc = segment(u, name);
    }
    free(ids.ids);
    return rc;
}

static int finish(struct dumper *u, int rc)
{
    buf_deinit(&u->chain);
    return rc == 0 ? u->status : admin_trouble(u->admin, "%s: %s", u->disk->path, strerror(-rc));
}

int admin_dump(const struct admin *a, struct disk *d, const struct dump_range *range)
{
    struct dumper u = { .admin = a, .disk = d, .range = range, .status = ADMIN_GOOD };
    struct manifest m = { .generation = 0 };
    const char *why;
    buf_init(&u.chain, BUF_NO_LIMIT);
    int rc = admin_manifest(d, &m, &why);
    if (rc == 0)
        print_manifest(&u, &m);
    else if (rc == 1 || rc == -EBADMSG)
        damage(&u, "manifest", rc == 1 ? "there is none" : why);
    else
        return finish(&u, rc < 0 ? rc : 0);
    rc = 0;
    for (uint32_t file = 0; rc == 0 && !range->log_only && m.set_count > 0 && file < m.sets[0].files; file++)
        rc = snapshot(&u, m.sets[0].id, file, &m.store);
    return finish(&u, rc == 0 ? segments(&u, &m) : rc);
}

static int dump_manifest_file(struct dumper *u, const char *name)
{
    uint8_t block[BLOCK_SIZE];
    struct manifest m;
    const char *why;
    uint64_t size;
    int fd = u->disk->ops->open(u->disk, name, DISK_READ | DISK_BUFFERED, &size);
    if (fd < 0)
        return fd;
    int rc = u->disk->ops->read(u->disk, fd, block, sizeof block, 0);
    u->disk->ops->close(u->disk, fd);
    if (rc == -ENODATA || (rc == 0 && manifest_decode(&m, block, &why) != 0)) {
        damage(u, name, rc == -ENODATA ? "it is too short" : why);
        return 0;
    }
    if (rc == 0)
        print_manifest(u, &m);
    return rc;
}

// The header says whose it is. 1: there is no header.
static int snapshot_store(struct dumper *u, const char *name, struct uuid *store)
{
    struct disk *d = u->disk;
    uint8_t block[BLOCK_SIZE] = { 0 };
    uint64_t size;
    int fd = d->ops->open(d, name, DISK_READ | DISK_BUFFERED, &size);
    if (fd < 0)
        return fd;
    int rc = d->ops->read(d, fd, block, sizeof block, 0);
    d->ops->close(d, fd);
    memcpy(store->bytes, block + 16, sizeof store->bytes);
    if (rc != -ENODATA)
        return rc;
    damage(u, name, "it is too short");
    return 1;
}

int admin_dump_file(const struct admin *a, struct disk *d, const char *name, const struct dump_range *range)
{
    struct dumper u = { .admin = a, .disk = d, .range = range, .status = ADMIN_GOOD };
    struct uuid store;
    uint64_t set;
    uint32_t file;
    buf_init(&u.chain, BUF_NO_LIMIT);
    int rc;
    if (segment_id_of(name) != 0)
        rc = segment(&u, name);
    else if (snapshot_name_parse(name, &set, &file))
        rc = (rc = snapshot_store(&u, name, &store)) != 0 ? rc : snapshot(&u, set, file, &store);
    else if (strcmp(name, manifest_name(0)) == 0 || strcmp(name, manifest_name(1)) == 0)
        rc = dump_manifest_file(&u, name);
    else {
        buf_deinit(&u.chain);
        return admin_trouble(a, "%s: not the name of a segment, a snapshot or a manifest", name);
    }
    return finish(&u, rc == 1 ? 0 : rc);
}
