// SPDX-License-Identifier: Apache-2.0
// Other servers' files become a data directory with one snapshot. RDB files pass through; fast-cache's snapshot and log are played into a
// store first, since a log says what changed and a snapshot what is.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/store/store.h"
#include "persist/fcw2.h"
#include "persist/rdb.h"
#include "reactor/memory.h"
#include "tools/admin/admin.h"
#include "tools/admin/out.h"
#include "tools/admin/text.h"

#define SEGMENT_SIZE (64u * 1024 * 1024)
#define DATABASES    UINT16_MAX // that an entry can name

// A file as a source.
struct input {
    struct disk *disk;
    int fd;
    uint64_t at, size;
};

static int64_t input_read(void *context, uint8_t *to, size_t room)
{
    struct input *in = context;
    uint64_t left = in->size - in->at, n = left < room ? left : room;
    if (n == 0)
        return 0;
    int rc = in->disk->ops->read(in->disk, in->fd, to, n, in->at);
    if (rc != 0)
        return rc;
    in->at += n;
    return (int64_t)n;
}

static int input_open(struct input *in, struct disk *d, const char *name)
{
    *in = (struct input){ .disk = d };
    in->fd = d->ops->open(d, name, DISK_READ | DISK_BUFFERED, &in->size);
    return in->fd < 0 ? in->fd : 0;
}

// ---- RDB

static int add_string(struct out *o, const struct rdb_entry *e)
{
    if (e->db > DATABASES)
        return -ERANGE;
    const struct snapshot_entry entry = { .flags = e->deadline_ms >= 0 ? RECORD_DEADLINE : 0,
                                          .db = (uint16_t)e->db,
                                          .deadline_ms = e->deadline_ms,
                                          .key = e->key,
                                          .value = e->value };
    return out_entry(o, &entry);
}

static void rdb_report(const struct admin *a, const struct rdb_totals *t)
{
    fprintf(a->out, "imported: %" PRIu64 " strings of an RDB file of version %" PRIu32 "%s\n", t->keys[RDB_STRING], t->version,
            t->unchecked ? ", which carries no checksum" : "");
    for (uint32_t i = RDB_STRING + 1; i < RDB_KINDS; i++)
        if (t->keys[i] > 0)
            fprintf(a->out, "left out: %" PRIu64 " keys of type %s, which this version does not have\n", t->keys[i],
                    rdb_kind_name((enum rdb_kind)i));
    if (t->functions > 0)
        fprintf(a->out, "left out: %" PRIu64 " libraries of functions\n", t->functions);
    if (t->auxiliary > 0)
        fprintf(a->out, "left out: %" PRIu64 " pieces of modules' own data\n", t->auxiliary);
}

// 0, or 1 when something was said, else -errno.
static int rdb_copy(const struct admin *a, struct rdb *r, const char *name, struct out *o)
{
    struct rdb_entry e;
    int next = 0, rc = 0;
    while (rc == 0 && (next = rdb_next(r, &e)) == 0)
        rc = add_string(o, &e);
    if (rc == -ERANGE) {
        admin_trouble(a, "%s: database %" PRIu64 " of a key is beyond %d", name, e.db, DATABASES);
        return 1;
    }
    if (next == -EBADMSG || next == -ENOTSUP) {
        admin_trouble(a, "%s at %" PRIu64 ": %s", name, rdb_offset(r), rdb_why(r));
        return 1;
    }
    return rc != 0 ? rc : next < 0 ? next : 0;
}

int admin_import_rdb(const struct admin *a, struct disk *from, const char *name, struct disk *to, const struct import_options *options)
{
    struct out o = { .fd = -1 };
    struct input in;
    struct source s;
    struct rdb *r;
    int rc = admin_is_empty(to);
    if (rc != 0)
        return admin_trouble(a, "%s: %s", to->path, strerror(-rc));
    if ((rc = input_open(&in, from, name)) != 0)
        return admin_trouble(a, "%s: %s", name, strerror(-rc));
    source_init(&s, input_read, &in);
    rc = rdb_new(&r, &s);
    if (rc == 0)
        rc = out_init(&o, to, options->shards, options->route_mode, SEGMENT_SIZE);
    if (rc == 0)
        rc = rdb_copy(a, r, name, &o);
    if (rc == 0)
        rc = out_snapshot_end(&o);
    if (rc == 0)
        rc = out_finish(&o);
    if (rc == 0)
        rdb_report(a, rdb_totals(r));
    rdb_free(r);
    source_deinit(&s);
    from->ops->close(from, in.fd);
    out_deinit(&o);
    if (rc == 0)
        return ADMIN_GOOD;
    admin_undo(a, to);
    return rc == 1 ? ADMIN_DAMAGE : admin_trouble(a, "%s: %s", to->path, strerror(-rc));
}

// ---- fast-cache

struct fast_cache {
    const struct admin *admin;
    struct disk *from;
    struct crc32_tables tables;
    struct store *store;
    struct keyspace *keyspace;
    struct out out;
    int failed; // of writing
    // Names.
    struct wal {
        uint64_t number;
        char name[64];
    } * wals;
    uint32_t wal_count, wal_cap;
    char snapshot[64];
    uint64_t snapshot_ms;
    bool snapshot_packed;
    uint64_t records, entries, skipped;
};

static void fast_cache_name(void *context, const char *name)
{
    struct fast_cache *f = context;
    uint64_t number;
    bool packed;
    if (strlen(name) >= sizeof f->snapshot)
        return;
    if (fcw2_snapshot_name(name, &number, &packed) && (f->snapshot[0] == '\0' || number >= f->snapshot_ms)) {
        memcpy(f->snapshot, name, strlen(name) + 1);
        f->snapshot_ms = number;
        f->snapshot_packed = packed;
    }
    if (!fcw2_segment_name(name, &number))
        return;
    if (f->wal_count == f->wal_cap) {
        uint32_t cap = f->wal_cap == 0 ? 64 : f->wal_cap * 2;
        struct wal *grown = realloc(f->wals, cap * sizeof *grown);
        if (grown == NULL) {
            f->failed = -ENOMEM;
            return;
        }
        f->wals = grown;
        f->wal_cap = cap;
    }
    f->wals[f->wal_count].number = number;
    memcpy(f->wals[f->wal_count++].name, name, strlen(name) + 1);
}

static int by_number(const void *a, const void *b)
{
    const struct wal *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

// Nothing expires while it is played: clock 0.
static int play(struct fast_cache *f, const struct fcw2_record *r)
{
    uint64_t hash = keyspace_hash(f->keyspace, r->key);
    int64_t deadline = r->deadline_ms < 0 ? ENTRY_NO_DEADLINE : r->deadline_ms;
    struct entry *e;
    switch ((enum fcw2_op)r->op) {
    case FCW2_SET:
        return keyspace_set(f->keyspace, r->key, hash, ENTRY_STRING, r->value, deadline, 0) == NULL ? -ENOMEM : 0;
    case FCW2_DELETE:
        (void)keyspace_delete(f->keyspace, r->key, hash, 0);
        return 0;
    case FCW2_EXPIRE:
        e = keyspace_find(f->keyspace, r->key, hash, 0);
        return e != NULL && keyspace_set_deadline(f->keyspace, e, deadline) == NULL ? -ENOMEM : 0;
    }
    return -EBADMSG;
}

static int damaged(const struct fast_cache *f, const char *name, uint64_t offset, const char *why)
{
    admin_trouble(f->admin, "%s at %" PRIu64 ": %s", name, offset, why);
    return 1;
}

// A snapshot packed as a whole is unpacked as a whole.
static int unpack(struct fast_cache *f, struct source *s, struct buf *plain)
{
    int rc = 0;
    for (size_t want = 1 << 20; rc == 0; want *= 2)
        rc = source_need(s, want);
    if (rc < 0)
        return rc;
    rc = fcw2_unpack(slice_of(source_view(s), source_left(s)), INT32_MAX, plain);
    return rc == -EBADMSG ? damaged(f, f->snapshot, 0, "it does not unpack") : rc;
}

struct memory_input {
    struct slice left;
};

static int64_t memory_read(void *context, uint8_t *to, size_t room)
{
    struct memory_input *m = context;
    size_t n = m->left.len < room ? m->left.len : room;
    if (n > 0)
        memcpy(to, m->left.data, n);
    m->left = slice_of(m->left.data + n, m->left.len - n);
    return (int64_t)n;
}

static int play_entries(struct fast_cache *f, struct source *s)
{
    struct fcw2_snapshot n;
    struct fcw2_record r;
    int rc = fcw2_snapshot_open(&n, s);
    while (rc == 0 && (rc = fcw2_snapshot_next(&n, s, &r)) == 0) {
        rc = play(f, &r);
        f->entries++;
    }
    f->snapshot_ms = n.timestamp_ms;
    return rc == 1 ? 0 : rc == -EBADMSG ? damaged(f, f->snapshot, s->offset, n.why) : rc;
}

static int play_snapshot(struct fast_cache *f)
{
    struct input in;
    struct source s, unpacked;
    struct buf plain;
    int rc = input_open(&in, f->from, f->snapshot);
    if (rc != 0)
        return rc;
    source_init(&s, input_read, &in);
    buf_init(&plain, BUF_NO_LIMIT);
    if (f->snapshot_packed) {
        rc = unpack(f, &s, &plain);
        struct memory_input m = { .left = buf_view(&plain) };
        source_init(&unpacked, memory_read, &m);
        if (rc == 0)
            rc = play_entries(f, &unpacked);
        source_deinit(&unpacked);
    } else {
        rc = play_entries(f, &s);
    }
    buf_deinit(&plain);
    source_deinit(&s);
    f->from->ops->close(f->from, in.fd);
    return rc;
}

// What the snapshot is younger than is in it. The last segment may end in the middle of a record: nobody was told of that one.
static int play_segment(struct fast_cache *f, const struct wal *w, bool last)
{
    struct input in;
    struct source s;
    struct fcw2_reader reader;
    struct fcw2_record r;
    int rc = input_open(&in, f->from, w->name);
    if (rc != 0)
        return rc;
    source_init(&s, input_read, &in);
    fcw2_reader_init(&reader, &s, &f->tables);
    while (rc == 0 && (rc = fcw2_reader_next(&reader, &r)) == 0) {
        bool old = f->snapshot[0] != '\0' && r.timestamp_ms < f->snapshot_ms;
        f->skipped += old;
        f->records += !old;
        rc = old ? 0 : play(f, &r);
    }
    if (rc == 1) {
        rc = 0;
    } else if (rc == -EBADMSG && reader.torn && last) {
        fprintf(f->admin->out, "%s at %" PRIu64 ": the last record was not written to its end, and is left out\n", w->name, s.offset);
        rc = 0;
    } else if (rc == -EBADMSG) {
        rc = damaged(f, w->name, s.offset, reader.why);
    }
    fcw2_reader_deinit(&reader);
    source_deinit(&s);
    f->from->ops->close(f->from, in.fd);
    return rc;
}

static void write_entry(void *context, struct entry *e)
{
    struct fast_cache *f = context;
    int64_t deadline = entry_deadline(e);
    const struct snapshot_entry entry = {
        .flags = deadline != ENTRY_NO_DEADLINE ? RECORD_DEADLINE : 0, .deadline_ms = deadline, .key = entry_key(e), .value = entry_value(e)
    };
    if (f->failed == 0)
        f->failed = out_entry(&f->out, &entry);
}

static int play_all(struct fast_cache *f)
{
    int rc = f->from->ops->list(f->from, fast_cache_name, f);
    if (rc == 0)
        rc = f->failed;
    if (rc != 0)
        return rc;
    if (f->wal_count == 0 && f->snapshot[0] == '\0') {
        admin_trouble(f->admin, "%s: neither segment-*.wal nor snapshot-*.bin is here", f->from->path);
        return 1;
    }
    if (f->wal_count > 1)
        qsort(f->wals, f->wal_count, sizeof *f->wals, by_number);
    if (f->snapshot[0] != '\0')
        rc = play_snapshot(f);
    for (uint32_t i = 0; i < f->wal_count && rc == 0; i++)
        rc = play_segment(f, &f->wals[i], i + 1 == f->wal_count);
    return rc;
}

static int write_all(struct fast_cache *f, struct disk *to, const struct import_options *options)
{
    int rc = out_init(&f->out, to, options->shards, options->route_mode, SEGMENT_SIZE);
    uint64_t cursor = 0;
    do {
        cursor = rc == 0 ? keyspace_scan(f->keyspace, cursor, 1024, 0, write_entry, f) : 0;
    } while (cursor != 0 && f->failed == 0);
    if (rc == 0)
        rc = f->failed;
    if (rc == 0)
        rc = out_snapshot_end(&f->out);
    return rc == 0 ? out_finish(&f->out) : rc;
}

int admin_import_fast_cache(const struct admin *a, struct disk *from, struct disk *to, const struct import_options *options)
{
    struct fast_cache *f = calloc(1, sizeof *f);
    int rc = admin_is_empty(to);
    if (rc != 0 || f == NULL) {
        free(f);
        return admin_trouble(a, "%s: %s", to->path, rc == 0 ? "out of memory" : strerror(-rc));
    }
    f->admin = a;
    f->from = from;
    f->out.fd = -1;
    crc32_init(&f->tables);
    struct store_options o = { .workers = 1, .databases = 1, .memory = memory_system(-1, MEMORY_HUGE_OFF) };
    route_init(&o.route, 1, ROUTE_FULL_KEY);
    from->ops->entropy(from, &o.secret, sizeof o.secret);
    rc = store_new(&f->store, &o);
    if (rc == 0) {
        f->keyspace = store_keyspace(f->store, 0, 0);
        rc = play_all(f);
    }
    if (rc == 0)
        rc = write_all(f, to, options);
    if (rc == 0)
        fprintf(a->out,
                "imported: %" PRIu64 " keys, of %" PRIu64 " entries of a snapshot and %" PRIu64 " records (%" PRIu64
                " older ones left out)\n",
                f->out.entries, f->entries, f->records, f->skipped);
    out_deinit(&f->out);
    if (f->store != NULL)
        store_free(f->store);
    free(f->wals);
    free(f);
    if (rc == 0)
        return ADMIN_GOOD;
    admin_undo(a, to);
    return rc == 1 ? ADMIN_DAMAGE : admin_trouble(a, "%s: %s", to->path, strerror(-rc));
}
