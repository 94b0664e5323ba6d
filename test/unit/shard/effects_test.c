// SPDX-License-Identifier: Apache-2.0
// Mutations: what the records of all batches make of an empty store is what the commands made of theirs, after every batch.
#include <errno.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "engine/shard/effects_records.h"
#include "test/unit/shard/rig.h"

#define KEYS 24

// ---- two stores alike

struct comparison {
    struct store *other;
    uint32_t shard, db;
    uint64_t differ;
};

static void compare_entry(void *context, struct entry *e)
{
    struct comparison *c = context;
    struct keyspace *ks = store_keyspace(c->other, c->shard, c->db);
    const struct entry *o = keyspace_peek(ks, entry_key(e), keyspace_hash(ks, entry_key(e)), INT64_MIN);
    if (o == NULL || !slice_equal(entry_value(o), entry_value(e)) || entry_deadline(o) != entry_deadline(e) ||
        entry_type(o) != entry_type(e) || entry_mark(o) != entry_mark(e)) {
        if (c->differ++ == 0)
            printf("shard %u db %u: '%.*s' differs\n", c->shard, c->db, (int)entry_key(e).len, (const char *)entry_key(e).data);
    }
}

static bool alike(struct rig *a, struct rig *b)
{
    struct comparison c = { .other = b->w->store };
    for (c.shard = 0; c.shard < SHARDS; c.shard++)
        for (c.db = 0; c.db < DATABASES; c.db++) {
            struct keyspace *ks = store_keyspace(a->w->store, c.shard, c.db);
            if (keyspace_count(ks) != keyspace_count(store_keyspace(b->w->store, c.shard, c.db))) {
                printf("shard %u db %u: other numbers of keys\n", c.shard, c.db);
                return false;
            }
            for (uint64_t cursor = 0, first = 1; cursor != 0 || first != 0; first = 0) {
                cursor = keyspace_scan(ks, cursor, 64, INT64_MIN, compare_entry, &c);
                if (cursor == 0)
                    break;
            }
        }
    return c.differ == 0;
}

// What the log would do with a turn's batches. Returns how many there were.
static uint32_t deliver(struct rig *from, struct rig *to)
{
    uint32_t count = 0;
    char why[EFFECTS_WHY_MAX] = "";
    for (struct log_batch *b = log_port_pull(&from->port.in), *next; b != NULL; b = next, count++) {
        next = b->next;
        check_equal(b->position, ++from->positions);
        check_equal(b->crc, crc32c(0, b->data.data, b->data.len));
        int rc = effects_apply_unit(to->w, buf_view(&b->data), NULL, why);
        if (rc != 0)
            printf("%s\n", why);
        check_equal(rc, 0);
        log_port_push(&from->port.spent, b);
    }
    return count;
}

// ---- random commands

static struct slice random_key(struct prng *p, char *to)
{
    return slice_of(to, (size_t)sprintf(to, "key:%u%s", (uint32_t)prng_below(p, KEYS),
                                        prng_below(p, 9) == 0 ? ":with a name longer than a node holds itself, by far" : ""));
}

static const char *const COMMANDS[] = {
    "SET k v",
    "SET k v",
    "SET k v PX n",
    "SET k v KEEPTTL",
    "SETNX k v",
    "GETSET k v",
    "GETDEL k",
    "GETEX k PX n",
    "GETEX k PERSIST",
    "MSET k v k v",
    "MSETNX k v k v",
    "APPEND k v",
    "APPEND k B",
    "SETRANGE k o v",
    "INCR c",
    "INCRBYFLOAT f 1.25",
    "DECRBY c n",
    "SET c 5",
    "SET f 0.5",
    "SETBIT k o 1",
    "SETBIT k o 0",
    "BITFIELD k SET u8 o 77",
    "BITFIELD k INCRBY i16 o 3 GET u4 0",
    "BITOP XOR k k k",
    "DEL k k",
    "UNLINK k",
    "EXPIRE k 100",
    "PEXPIRE k n",
    "PEXPIREAT k 1",
    "PERSIST k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "COPY k k DB 1 REPLACE",
    "SET k B",
    "SET k B PX n",
    "GET k",
    "GET k",
    "STRLEN k",
    "FLUSHDB",
    "SWAPDB 0 1",
    "MOVE k 2",
};

static void random_command(struct rig *r, struct prng *p, struct slice big)
{
    char text[16][96];
    struct slice argv[16];
    uint32_t argc = 0, which = (uint32_t)prng_below(p, sizeof COMMANDS / sizeof COMMANDS[0]);
    const char *line = COMMANDS[which];
    if ((strcmp(line, "FLUSHDB") == 0 || strcmp(line, "SWAPDB 0 1") == 0) && prng_below(p, 12) != 0)
        return;
    while (*line != '\0') {
        size_t len = strcspn(line, " ");
        char *to = text[argc];
        if (len == 1 && strchr("kcfvnoB", *line) != NULL) {
            if (*line == 'k')
                argv[argc] = random_key(p, to);
            else if (*line == 'c' || *line == 'f')
                argv[argc] = slice_of(line, 1);
            else if (*line == 'v')
                argv[argc] = slice_of(big.data + prng_below(p, 100), prng_below(p, 80));
            else if (*line == 'B')
                argv[argc] = slice_of(big.data, prng_below(p, 3) == 0 ? big.len - prng_below(p, 9000) : 3000 + prng_below(p, 9000));
            else
                argv[argc] = slice_of(to, (size_t)sprintf(to, "%u", (uint32_t)prng_below(p, *line == 'n' ? 3000 : 20000)));
        } else {
            argv[argc] = slice_of(line, len);
        }
        argc++;
        line += len + (line[len] == ' ');
    }
    if (command_find(argv, argc) != NULL)
        run(r, (uint32_t)prng_below(p, DATABASES), argv, argc);
}

static void turns(uint64_t seed, uint64_t memory_max, uint32_t count)
{
    struct rig from, to;
    struct prng p;
    static uint8_t big[150000];
    prng_init(&p, seed);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (uint8_t)('a' + prng_below(&p, 26));
    rig_start(&from, memory_max, true);
    rig_start(&to, 0, false);
    from.w->gated = seed % 2 == 0; // then small values are settled behind their commands
    for (uint32_t turn = 0; turn < count && test_failures == 0; turn++) {
        from.w->now_ms += (int64_t)prng_below(&p, 200);
        for (uint64_t n = prng_below(&p, 8); n > 0; n--)
            random_command(&from, &p, slice_of(big, sizeof big));
        if (memory_max > 0)
            store_make_room(from.w->store, from.w->now_ms);
        store_maintain(from.w->store, from.w->now_ms, 64);
        effects_flush(from.w);
        check(deliver(&from, &to) <= 1);
        if (!alike(&from, &to)) {
            printf("seed %llu, turn %u\n", (unsigned long long)seed, turn);
            test_failures++;
        }
    }
    check(!from.w->effects.failed);
    rig_stop(&from);
    rig_stop(&to);
}

static void the_records_of_every_turn_make_the_same_store(void)
{
    for (uint64_t seed = 1; seed <= 30 && test_failures == 0; seed++)
        turns(seed, 0, 400);
}

static void what_is_evicted_is_logged(void)
{
    for (uint64_t seed = 100; seed <= 110 && test_failures == 0; seed++)
        turns(seed, 300000, 300);
}

// ---- what a record is

static uint64_t sent_bytes(struct rig *r)
{
    uint64_t bytes = 0;
    effects_flush(r->w);
    for (struct log_batch *b = log_port_pull(&r->port.in), *next; b != NULL; b = next) {
        next = b->next;
        bytes += b->data.len;
        log_port_push(&r->port.spent, b);
    }
    return bytes;
}

static void a_key_that_changed_often_is_one_record(void)
{
    struct rig r;
    rig_start(&r, 0, true);
    for (int i = 0; i < 100; i++)
        run_text(&r, 0, "INCR counter");
    effects_flush(r.w);
    check_equal(r.w->effects.records, 1);
    check_equal(r.w->effects.coalesced, 99);
    rig_stop(&r);
}

static void a_small_value_is_settled_behind_its_command_and_written_over_by_the_next(void)
{
    struct rig r, copy;
    rig_start(&r, 0, true);
    rig_start(&copy, 0, false);
    r.w->gated = true;
    run_text(&r, 0, "SET a:key:of:some:length 000000000000000000000000000000"); // a new key waits for the turn's end
    check_equal(r.w->effects.records, 0);
    effects_flush(r.w);
    for (int i = 0; i < 5; i++)
        run_text(&r, 0,
                 i % 2 == 0 ? "SET a:key:of:some:length 111111111111111111111111111111"
                            : "SET a:key:of:some:length 222222222222222222222222222222");
    check_equal(r.w->effects.records, 2);
    check_equal(r.w->effects.coalesced, 4);
    check_equal(r.w->effects.dirty.count, 0);
    run_text(&r, 0, "DEL a:key:of:some:length");
    run_text(&r, 0, "SET a:key:of:some:length 333333333333333333333333333333");
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 2);
    check(alike(&r, &copy));
    rig_stop(&r);
    rig_stop(&copy);
}

static void no_record_before_a_clearing_is_written_over(void)
{
    struct rig r, copy;
    rig_start(&r, 0, true);
    rig_start(&copy, 0, false);
    r.w->gated = true;
    run_text(&r, 0, "SET a:key:of:some:length 1111111111111111111111111");
    effects_flush(r.w);
    run_text(&r, 0, "SET a:key:of:some:length 1111111111111111111111112");
    run_text(&r, 0, "FLUSHDB");
    run_text(&r, 0, "SET a:key:of:some:length 1111111111111111111111113");
    run_text(&r, 0, "SET a:key:of:some:length 1111111111111111111111114");
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 2);
    check(alike(&r, &copy));
    run_text(&r, 0, "SET a:key:of:some:length 1111111111111111111111115");
    run_text(&r, 0, "SWAPDB 0 1");
    run_text(&r, 0, "SET a:key:of:some:length 1111111111111111111111116");
    run_text(&r, 1, "SET a:key:of:some:length 1111111111111111111111117");
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 1);
    check(alike(&r, &copy));
    rig_stop(&r);
    rig_stop(&copy);
}

static void a_command_that_changes_nothing_sends_nothing(void)
{
    struct rig r;
    rig_start(&r, 0, true);
    run_text(&r, 0, "SET a 1");
    check(sent_bytes(&r) > 0);
    run_text(&r, 0, "SETNX a 2");
    run_text(&r, 0, "GET a");
    run_text(&r, 0, "DEL b");
    run_text(&r, 0, "PERSIST a");
    check_equal(sent_bytes(&r), 0);
    check_equal(r.w->effects.position, 1);
    rig_stop(&r);
}

static void a_bit_of_a_large_value_is_a_small_record(void)
{
    struct rig r, copy;
    rig_start(&r, 0, true);
    rig_start(&copy, 0, false);
    run_text(&r, 0, "SETRANGE large 999999 x");
    effects_flush(r.w);
    deliver(&r, &copy);
    run_text(&r, 0, "SETBIT large 4000 1");
    run_text(&r, 0, "APPEND large tail");
    run_text(&r, 0, "SETBIT large 4001 1");
    run_text(&r, 0, "PEXPIREAT large 1900000000000");
    effects_flush(r.w);
    check(r.w->effects.bytes < 2100000); // a range from one to the other end is the whole
    deliver(&r, &copy);
    check(alike(&r, &copy));
    run_text(&r, 0, "SETBIT large 7 1");
    check(sent_bytes(&r) < 100);
    rig_stop(&r);
    rig_stop(&copy);
}

// ---- what is refused

static int apply_error(uint8_t op, uint8_t flags, uint16_t db, const char *key, struct slice value, char why[EFFECTS_WHY_MAX])
{
    struct rig r;
    rig_start(&r, 0, false);
    struct record record = { .op = op, .flags = flags, .db = db, .sequence = 1, .deadline_ms = -1, .key = slice_cstr(key), .value = value };
    int rc = effects_apply(r.w->store, route_shard(&r.w->route, slice_cstr(key)), &record, NOW, why);
    rig_stop(&r);
    return rc;
}

static void what_is_not_known_is_refused_by_name(void)
{
    char why[EFFECTS_WHY_MAX];
    static const uint8_t NEW[] = "\1\0\0\0\6\0\0\0FLUBDB", FEW[] = "\2\0\0\0\6\0\0\0SWAPDB\1\0\0\0000",
                         BEYOND[] = "\3\0\0\0\6\0\0\0SWAPDB\1\0\0\0000\1\0\0\0009",
                         RANGE[] = "\3\0\0\0\10\0\0\0SETRANGE\1\0\0\0005\1\0\0\0x";
    check_equal(apply_error(RECORD_EFFECT, 0, 0, "k", slice_of(NEW, sizeof NEW - 1), why), -EBADMSG);
    check(strstr(why, "unknown effect 'FLUBDB'") != NULL);
    check_equal(apply_error(RECORD_EFFECT, 0, 0, "k", slice_of(FEW, sizeof FEW - 1), why), -EBADMSG);
    check_equal(apply_error(RECORD_EFFECT, 0, 0, "k", slice_of(BEYOND, sizeof BEYOND - 1), why), -EBADMSG);
    check_equal(apply_error(RECORD_EFFECT, 0, 0, "k", slice_of(RANGE, sizeof RANGE - 1), why), -EBADMSG);
    check_equal(apply_error(RECORD_EFFECT, 0, 0, "k", slice_cstr(""), why), -EBADMSG);
    check_equal(apply_error(RECORD_SET, 5 << 4, 0, "k", slice_cstr("v"), why), -EBADMSG);
    check(strstr(why, "unknown type 5") != NULL);
    check_equal(apply_error(RECORD_SET, 0, DATABASES, "k", slice_cstr("v"), why), -EBADMSG);
    check_equal(apply_error(RECORD_EXPIRE, 0, 0, "k", slice_cstr(""), why), -EBADMSG);
    check_equal(apply_error(RECORD_DELETE, 0, 0, "k", slice_cstr(""), why), 0);
    check_equal(apply_error(RECORD_SET, 0, 0, "k", slice_cstr("v"), why), 0);
}

static void records_at_a_watermark_are_left_out_and_gaps_refused(void)
{
    struct rig r, copy;
    char why[EFFECTS_WHY_MAX];
    uint64_t marks[SHARDS] = { 0 };
    rig_start(&r, 0, true);
    rig_start(&copy, 0, false);
    uint32_t shard = route_shard(&r.w->route, slice_cstr("a"));
    struct log_batch *b[3];
    for (int i = 0; i < 3; i++) {
        run_text(&r, 0, i == 0 ? "SET a 1" : i == 1 ? "INCR a" : "INCR a");
        effects_flush(r.w);
        b[i] = log_port_pull(&r.port.in);
    }
    marks[shard] = 1;
    check_equal(effects_apply_unit(copy.w, buf_view(&b[0]->data), marks, why), 0);
    struct keyspace *ks = store_keyspace(copy.w->store, shard, 0);
    check_equal(keyspace_count(ks), 0);
    check_equal(effects_apply_unit(copy.w, buf_view(&b[2]->data), marks, why), -EBADMSG);
    check(strstr(why, "goes on with record 3") != NULL);
    check_equal(effects_apply_unit(copy.w, buf_view(&b[1]->data), marks, why), 0);
    check_equal(effects_apply_unit(copy.w, buf_view(&b[2]->data), marks, why), 0);
    check_equal(effects_sequence(copy.w, shard), 3);
    for (int i = 0; i < 3; i++)
        log_batch_free(b[i]);
    rig_stop(&r);
    rig_stop(&copy);
}

// ---- transactions

static struct intent intents[4];

static struct ticket *share(struct rig *r, struct ticket *t, const char *key, bool exclusive)
{
    ticket_init(t, intents, key == NULL ? 1 : 2,
                key == NULL ? (exclusive ? INTENT_EXCLUSIVE : INTENT_SHARED)
                : exclusive ? INTENT_SOME_EXCLUSIVE
                            : INTENT_SOME_SHARED);
    t->kind = TICKET_SHARE;
    if (key != NULL)
        ticket_key(t, 1, txn_print_of(r->w, slice_cstr(key)), exclusive);
    int rc = intents_enqueue(&r->w->txns.intents, t);
    assert(rc == 0);
    struct ticket *ready = intents_take(&r->w->txns.intents);
    assert(ready == t);
    effects_settle_share(r->w, t);
    return t;
}

static void release(struct rig *r, struct ticket *t, uint64_t name, uint32_t parts)
{
    effects_settle_released(r->w, t, name, parts);
    intents_release(&r->w->txns.intents, t);
}

static void what_a_share_holds_goes_with_its_marker(void)
{
    struct rig r, copy;
    struct ticket t;
    rig_start(&r, 0, true);
    rig_start(&copy, 0, false);
    run_text(&r, 0, "SET a before");
    run_text(&r, 0, "SET b before");
    share(&r, &t, "a", true);
    run_text(&r, 0, "SET a within");
    run_text(&r, 0, "SET c beside");
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 1); // without the change inside
    struct slice a = slice_cstr("a");
    struct keyspace *ks = store_keyspace(copy.w->store, route_shard(&copy.w->route, a), 0);
    check(slice_equal(entry_value(keyspace_peek(ks, a, keyspace_hash(ks, a), 0)), slice_cstr("before")));
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 0);
    check(effects_is_dirty(&r.w->effects, keyspace_hash(ks, a)) && effects_is_held(r.w, keyspace_hash(ks, a)));
    release(&r, &t, 77, 3);
    check(!effects_is_held(r.w, keyspace_hash(ks, a)));
    effects_flush(r.w);
    struct log_batch *b = log_port_pull(&r.port.in);
    check(b != NULL && b->marker_count == 1 && b->markers[0].txn == 77 && b->markers[0].parts == 3);
    log_port_push(&r.port.in, b);
    deliver(&r, &copy);
    check(alike(&r, &copy));
    rig_stop(&r);
    rig_stop(&copy);
}

static void a_share_that_only_reads_holds_nothing_back(void)
{
    struct rig r;
    struct ticket t;
    rig_start(&r, 0, true);
    share(&r, &t, "a", false);
    run_text(&r, 0, "SET b 1");
    check(sent_bytes(&r) > 0);
    release(&r, &t, 0, 0);
    check_equal(sent_bytes(&r), 0);
    rig_stop(&r);
}

static void a_share_of_everything_keeps_the_batch_open(void)
{
    struct rig r, copy;
    struct ticket t;
    rig_start(&r, 0, true);
    rig_start(&copy, 0, false);
    run_text(&r, 0, "SET a 1");
    share(&r, &t, NULL, true);
    check_equal(deliver(&r, &copy), 1);
    run_text(&r, 0, "SET b 1");
    run_text(&r, 0, "SWAPDB 0 1");
    run_text(&r, 0, "SET b 2");
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 0);
    run_text(&r, 1, "FLUSHDB");
    release(&r, &t, 5, 2);
    effects_flush(r.w);
    check_equal(deliver(&r, &copy), 1);
    check(alike(&r, &copy));
    rig_stop(&r);
    rig_stop(&copy);
}

static void a_part_without_changes_sends_its_marker_alone(void)
{
    struct rig r;
    rig_start(&r, 0, true);
    effects_mark(r.w, 9, 2);
    effects_mark(r.w, 10, 1); // one part needs none
    effects_flush(r.w);
    struct log_batch *b = log_port_pull(&r.port.in);
    check(b != NULL && b->data.len == 0 && b->batches == 0 && b->marker_count == 1);
    log_batch_free(b);
    rig_stop(&r);
}

// As the log role does with what it has taken: with their memory.
static void give_back(struct rig *r)
{
    for (struct log_batch *b = log_port_pull(&r->port.in), *next; b != NULL; b = next) {
        next = b->next;
        b->data.len = 0;
        log_port_push(&r->port.spent, b);
    }
}

static uint64_t counted(struct rig *r)
{
    worker_charge_durability(r->w);
    check_equal(r->w->stats.memory_log, effects_memory(&r->w->effects) + gate_memory(&r->w->gate));
    return r->w->stats.memory_log;
}

// `turns` of a batch of about `bytes` each.
static void send_some(struct rig *r, uint32_t turns, size_t bytes)
{
    uint8_t *value = calloc(1, bytes);
    struct slice argv[] = { slice_cstr("SET"), slice_cstr("key"), slice_of(value, bytes) };
    for (uint32_t i = 0; i < turns; i++) {
        run(r, 0, argv, 3);
        effects_flush(r->w);
    }
    free(value);
}

static void batches_count_as_memory_wherever_they_are_and_go_when_too_many_came_back(void)
{
    struct rig r;
    rig_start(&r, 0, true);
    uint64_t before = counted(&r);
    send_some(&r, 40, 300000);
    uint64_t most = counted(&r);
    check(most >= before + 40 * 300000 && most < before + 40 * 600000);
    give_back(&r);
    check_equal(counted(&r), most); // it is there as before
    effects_records_trim(&r.w->effects);
    uint64_t rest = counted(&r);
    check(rest >= 1 << 20 && rest <= before + (3 << 20));
    send_some(&r, 3, 300000); // into those that were kept
    check_equal(counted(&r), rest);
    send_some(&r, 1, 3 << 20);
    check(counted(&r) >= rest + (2 << 20));
    give_back(&r);
    effects_records_trim(&r.w->effects); // none of them keeps so much
    check(counted(&r) <= before + (3 << 20));
    rig_stop(&r);
}

static void a_batch_and_the_keys_of_a_share_count_before_they_are_sent(void)
{
    struct rig r;
    struct ticket t;
    char key[2000];
    rig_start(&r, 0, true);
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    uint64_t before = counted(&r);
    share(&r, &t, key, true);
    struct slice argv[] = { slice_cstr("SET"), slice_cstr(key), slice_cstr("1") };
    run(&r, 0, argv, 3);
    check(counted(&r) >= before + sizeof key);
    release(&r, &t, 5, 2);
    effects_flush(r.w);
    check(counted(&r) < before + 2 * sizeof key + 4096);
    run_text(&r, 0, "SET a 1");
    effects_settle_all(r.w);
    check(r.w->effects.batch != NULL);
    uint64_t built = counted(&r);
    effects_flush(r.w);
    check_equal(counted(&r), built);
    rig_stop(&r);
}

static uint64_t fill(struct rig *r, uint32_t count)
{
    char line[64];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(line, sizeof line, "SET key:%u value", (unsigned)i);
        run_text(r, 0, line);
    }
    effects_flush(r->w);
    give_back(r);
    effects_records_trim(&r->w->effects);
    (void)counted(r);
    return keyspace_count(store_keyspace(r->w->store, 0, 0));
}

static void set_limit(struct rig *r, uint64_t bytes, enum store_policy policy)
{
    r->w->options.maxmemory = bytes;
    r->w->options.maxmemory_policy = (int)policy;
    store_set_memory_max(r->w->store, bytes);
    store_set_policy(r->w->store, policy);
}

static void what_is_on_its_way_to_the_log_counts_against_maxmemory(void)
{
    enum { LIMIT = 12 << 20 };
    struct rig r;
    rig_start(&r, 0, true);
    set_limit(&r, LIMIT, STORE_NOEVICTION);
    uint64_t count = fill(&r, 60000);
    check(store_make_room(r.w->store, NOW));
    send_some(&r, 30, 400000);                // they stay with the log
    check(!store_make_room(r.w->store, NOW)); // so a write is refused
    give_back(&r);
    effects_records_trim(&r.w->effects);
    (void)counted(&r);
    check(store_make_room(r.w->store, NOW));
    check_equal(keyspace_count(store_keyspace(r.w->store, 0, 0)), count);
    rig_stop(&r);
}

// Each eviction is a record more: without a bound none would be left.
static void a_log_that_is_slow_costs_an_eighth_of_the_keys_at_most(void)
{
    enum { LIMIT = 4 << 20 };
    struct rig r;
    rig_start(&r, LIMIT, true);
    set_limit(&r, LIMIT, STORE_ALLKEYS_S3FIFO);
    (void)fill(&r, 200000);
    for (uint32_t i = 0; i < 100; i++) {
        (void)store_make_room(r.w->store, NOW);
        effects_flush(r.w);
    }
    uint64_t count = keyspace_count(store_keyspace(r.w->store, 0, 0));
    send_some(&r, 20, 400000);
    check(counted(&r) > LIMIT);
    for (uint32_t i = 0; i < 1000; i++) {
        (void)store_make_room(r.w->store, NOW);
        effects_flush(r.w);
        (void)counted(&r);
    }
    check(store_memory_used(r.w->store) <= LIMIT);
    check(keyspace_count(store_keyspace(r.w->store, 0, 0)) > count * 3 / 4);
    rig_stop(&r);
}

TESTS(TEST(the_records_of_every_turn_make_the_same_store), TEST(what_is_evicted_is_logged), TEST(a_key_that_changed_often_is_one_record),
      TEST(a_small_value_is_settled_behind_its_command_and_written_over_by_the_next), TEST(no_record_before_a_clearing_is_written_over),
      TEST(a_command_that_changes_nothing_sends_nothing), TEST(a_bit_of_a_large_value_is_a_small_record),
      TEST(what_is_not_known_is_refused_by_name), TEST(records_at_a_watermark_are_left_out_and_gaps_refused),
      TEST(what_a_share_holds_goes_with_its_marker), TEST(a_share_that_only_reads_holds_nothing_back),
      TEST(a_share_of_everything_keeps_the_batch_open), TEST(a_part_without_changes_sends_its_marker_alone),
      TEST(batches_count_as_memory_wherever_they_are_and_go_when_too_many_came_back),
      TEST(a_batch_and_the_keys_of_a_share_count_before_they_are_sent), TEST(what_is_on_its_way_to_the_log_counts_against_maxmemory),
      TEST(a_log_that_is_slow_costs_an_eighth_of_the_keys_at_most))
