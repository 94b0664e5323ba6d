// SPDX-License-Identifier: Apache-2.0
// libskerry's handles: options, clones, splits, threads, forks.
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/embed/host.h"

static struct host host;

static void options_outside_their_range_open_nothing(void)
{
    struct skerry *s = NULL;
    for (int bad = 0; bad < 9; bad++) {
        struct skerry_options o = host_options(&host, 4);
        struct skerry_memory m = { .size = sizeof m };
        switch (bad) {
        case 0:
            o.shards = 3;
            break;
        case 1:
            o.shards = SKERRY_SHARDS_MAX * 2;
            break;
        case 2:
            o.route_mode = (enum skerry_route_mode)2;
            break;
        case 3:
            o.hash = (enum skerry_hash)7;
            break;
        case 4:
            o.policy = (enum skerry_policy)100;
            break;
        case 5:
            o.huge_pages = (enum skerry_huge_pages)3;
            break;
        case 6:
            o.size = 3;
            break;
        case 7:
            o.memory = &m; // without functions
            break;
        default:
            o.shards = 24;
            break;
        }
        check_equal(skerry_open(&s, &o), SKERRY_INVALID);
        check(s == NULL);
    }
}

static void structs_of_older_and_newer_callers_are_understood(void)
{
    struct {
        struct skerry_options known;
        uint64_t unknown;
    } newer = { .known = host_options(&host, 4) };
    struct skerry *s;
    newer.known.size = sizeof newer;
    check_equal(skerry_open(&s, &newer.known), SKERRY_OK);
    struct {
        struct skerry_stats known;
        uint64_t unknown;
    } stats = { .known = { .size = sizeof stats }, .unknown = 7 };
    check_equal(set_text(s, "a", "1"), SKERRY_OK);
    check_equal(skerry_stats(s, &stats.known), SKERRY_OK);
    check(stats.known.keys == 1 && stats.unknown == 0);
    struct skerry_stats older = { .size = offsetof(struct skerry_stats, keys_with_deadline), .keys_with_deadline = 77 };
    check_equal(skerry_stats(s, &older), SKERRY_OK);
    check(older.keys == 1 && older.keys_with_deadline == 77);
    check_equal(skerry_close(s), SKERRY_OK);
    newer.unknown = 1; // says something that this library does not know
    check_equal(skerry_open(&s, &newer.known), SKERRY_INVALID);
    struct skerry_options o = { .size = offsetof(struct skerry_options, route_mode), .shards = 2 };
    check_equal(skerry_open(&s, &o), SKERRY_OK);
    check_equal(skerry_shards(s), 2);
    check_equal(skerry_close(s), SKERRY_OK);
    check_equal(skerry_open(&s, NULL), SKERRY_OK);
    check_equal(skerry_shards(s), 16);
    check_equal(skerry_close(s), SKERRY_OK);
}

static void every_status_has_its_text(void)
{
    for (int i = SKERRY_OK; i <= SKERRY_INVALID; i++) {
        check(strlen(skerry_status_text((enum skerry_status)i)) > 3);
        for (int j = 0; j < i; j++)
            check(strcmp(skerry_status_text((enum skerry_status)i), skerry_status_text((enum skerry_status)j)) != 0);
    }
    check(strcmp(skerry_status_text((enum skerry_status)999), "no such status") == 0);
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", SKERRY_VERSION_MAJOR, SKERRY_VERSION_MINOR, SKERRY_VERSION_PATCH);
    check(strcmp(version, skerry_version()) == 0);
}

static void the_last_clone_closes_the_store(void)
{
    struct skerry_options o = host_options(&host, 2);
    struct skerry *s = host_open(&o), *again = skerry_clone(s), *locals[2];
    check_equal(set_text(s, "a", "1"), SKERRY_OK);
    check_equal(skerry_split(s, 2, locals), SKERRY_BUSY);
    check_equal(skerry_close(s), SKERRY_OK);
    check(text_is(again, "a", "1"));
    check_equal(skerry_close(again), SKERRY_OK);
    check_equal(skerry_close(NULL), SKERRY_OK);
}

static void local_stores_keep_the_keys_of_their_shards_and_refuse_others(void)
{
    for (uint32_t workers = 1; workers <= 8; workers++) {
        struct skerry_options o = host_options(&host, 8);
        struct skerry *s = host_open(&o), *locals[9];
        char key[32];
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof key, "key:%d", i);
            check_equal(set_text(s, key, key), SKERRY_OK);
        }
        check_equal(skerry_split(s, 9, locals), SKERRY_INVALID);
        check_equal(skerry_split(s, 0, locals), SKERRY_INVALID);
        check_equal(skerry_split(s, workers, locals), SKERRY_OK);
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof key, "key:%d", i);
            uint32_t owner = skerry_route_key(locals[0], key, strlen(key)) % workers;
            for (uint32_t w = 0; w < workers; w++) {
                check_equal(skerry_exists(locals[w], key, strlen(key)), w == owner ? SKERRY_OK : SKERRY_WRONG_ROUTE);
                check_equal(set_text(locals[w], key, "x"), w == owner ? SKERRY_OK : SKERRY_WRONG_ROUTE);
                check(skerry_owns(locals[w], skerry_route_key(locals[0], key, strlen(key))) == (w == owner));
            }
        }
        check(skerry_clone(locals[0]) == NULL);
        check_equal(skerry_split(locals[0], 1, &locals[8]), SKERRY_INVALID);
        for (uint32_t w = 0; w < workers; w++)
            check_equal(skerry_close(locals[w]), SKERRY_OK);
    }
}

struct visitor {
    struct skerry *local;
    enum skerry_status got[8];
};

static void *visit(void *context)
{
    struct visitor *v = context;
    size_t len;
    struct skerry_op op = { .kind = SKERRY_OP_EXISTS, .key = text("a") };
    struct skerry_stats stats = { .size = sizeof stats };
    uint64_t cursor = 0;
    v->got[0] = skerry_get(v->local, "a", 1, NULL, 0, &len);
    v->got[1] = set_text(v->local, "a", "2");
    skerry_batch(v->local, &op, 1);
    v->got[2] = op.status;
    v->got[3] = skerry_stats(v->local, &stats);
    v->got[4] = skerry_maintain(v->local, 1, NULL);
    v->got[5] = skerry_iterate(v->local, &cursor, 1, NULL, NULL);
    v->got[6] = skerry_session_put(v->local, "a", 1, NULL, 0, SKERRY_NO_TTL);
    v->got[7] = skerry_hand_over(v->local);
    return NULL;
}

static void two_threads_in_one_local_store_are_detected(void)
{
    struct skerry_options o = host_options(&host, 1);
    struct skerry *s = host_open(&o), *local;
    check_equal(skerry_split(s, 1, &local), SKERRY_OK);
    check_equal(set_text(local, "a", "1"), SKERRY_OK);
    struct visitor v = { .local = local };
    pthread_t thread;
    check_equal(pthread_create(&thread, NULL, visit, &v), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < 8; i++)
        check_equal(v.got[i], SKERRY_WRONG_THREAD);
    check(text_is(local, "a", "1"));
    check_equal(skerry_hand_over(local), SKERRY_OK);
    check_equal(skerry_close(local), SKERRY_OK);
}

static void *take_over(void *context)
{
    struct skerry *local = context;
    check(text_is(local, "a", "1"));
    check_equal(set_text(local, "a", "2"), SKERRY_OK);
    check_equal(skerry_hand_over(local), SKERRY_OK);
    return NULL;
}

static void a_local_store_can_be_handed_over(void)
{
    struct skerry_options o = host_options(&host, 1);
    struct skerry *s = host_open(&o), *local;
    check_equal(skerry_split(s, 1, &local), SKERRY_OK);
    check_equal(set_text(local, "a", "1"), SKERRY_OK);
    check_equal(skerry_hand_over(local), SKERRY_OK);
    pthread_t thread;
    check_equal(pthread_create(&thread, NULL, take_over, local), 0);
    pthread_join(thread, NULL);
    check(text_is(local, "a", "2"));
    check_equal(skerry_close(local), SKERRY_OK);
}

// Threads on one shared store

#define THREADS 4
#define ROUNDS  3000

static void *count_up(void *context)
{
    struct skerry *s = context;
    struct skerry_op ops[40];
    char keys[40][16];
    for (int round = 0; round < ROUNDS; round++) {
        struct skerry_view view;
        check_equal(skerry_incr(s, "all", 3, 1, NULL), SKERRY_OK);
        for (int i = 0; i < 40; i++) {
            snprintf(keys[i], sizeof keys[i], "k%d", (i * 7 + round) % 100);
            ops[i] = (struct skerry_op){ .kind = SKERRY_OP_INCR, .key = text(keys[i]), .number = 1 };
        }
        check_equal(skerry_batch(s, ops, 40), 40);
        if (skerry_get_view(s, "all", 3, &view) == SKERRY_OK) {
            check(view.len > 0 && ((const char *)view.data)[0] != '0');
            check_equal(skerry_release(s, &view), SKERRY_OK);
        }
        if (round % 64 == 0)
            check_equal(skerry_maintain(s, 10, NULL), SKERRY_OK);
    }
    check_equal(skerry_close(s), SKERRY_OK);
    return NULL;
}

static void threads_share_a_store_without_losing_a_step(void)
{
    struct skerry_options o = skerry_options_default();
    o.shards = 8;
    struct skerry *s = host_open(&o);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        check_equal(pthread_create(&threads[i], NULL, count_up, skerry_clone(s)), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    int64_t sum = 0, n = 0;
    check_equal(skerry_incr(s, "all", 3, 0, &n), SKERRY_OK);
    check_equal(n, THREADS * ROUNDS);
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        check_equal(skerry_incr(s, key, strlen(key), 0, &n), SKERRY_OK);
        sum += n;
    }
    check_equal(sum, THREADS * ROUNDS * 40);
    check_equal(skerry_close(s), SKERRY_OK);
}

// Forks

static void *write_on(void *context)
{
    struct skerry *s = context;
    for (int i = 0; skerry_exists(s, "stop", 4) != SKERRY_OK; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i % 1000);
        check_equal(set_text(s, key, key), SKERRY_OK);
    }
    return NULL;
}

static int child_uses(struct skerry *s)
{
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "c%d", i);
        if (set_text(s, key, key) != SKERRY_OK || !text_is(s, key, key))
            return 1;
    }
    return skerry_close(s) == SKERRY_OK ? 0 : 2;
}

static void a_shared_store_works_on_both_sides_of_a_fork(void)
{
    struct skerry *s = host_open(NULL);
    pthread_t thread;
    check_equal(pthread_create(&thread, NULL, write_on, s), 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(child_uses(s));
        int status = -1;
        check_equal(waitpid(child, &status, 0), child);
        check_equal(status, 0);
    }
    check_equal(set_text(s, "stop", "1"), SKERRY_OK);
    pthread_join(thread, NULL);
    check_equal(skerry_exists(s, "c1", 2), SKERRY_NOT_FOUND);
    check_equal(skerry_close(s), SKERRY_OK);
}

// A key of this shard.
static struct skerry_slice key_in(const struct skerry *s, uint32_t shard)
{
    static char keys[2][16];
    for (int i = 0;; i++) {
        snprintf(keys[shard], sizeof keys[shard], "key:%d", i);
        if (skerry_route_key(s, keys[shard], strlen(keys[shard])) == shard)
            return text(keys[shard]);
    }
}

static sem_t forked;

static void *own(void *context)
{
    struct skerry_slice key = key_in(context, 1);
    check_equal(skerry_set(context, key.data, key.len, "1", 1, SKERRY_NO_TTL), SKERRY_OK);
    sem_wait(&forked); // a child has a copy of a thread that runs, not of one that ended and that nobody joins there
    return NULL;
}

static void a_forked_child_keeps_its_own_local_store_and_no_other(void)
{
    struct skerry_options o = host_options(&host, 2);
    struct skerry *s = host_open(&o), *locals[2];
    check_equal(skerry_split(s, 2, locals), SKERRY_OK);
    struct skerry_slice mine = key_in(locals[0], 0);
    check_equal(skerry_set(locals[0], mine.data, mine.len, "1", 1, SKERRY_NO_TTL), SKERRY_OK);
    pthread_t thread;
    check_equal(sem_init(&forked, 0, 0), 0);
    check_equal(pthread_create(&thread, NULL, own, locals[1]), 0);
    pid_t child = fork();
    if (child == 0) {
        bool kept = skerry_exists(locals[0], mine.data, mine.len) == SKERRY_OK;
        _exit(kept && skerry_set(locals[0], mine.data, mine.len, "2", 1, SKERRY_NO_TTL) == SKERRY_OK ? 0 : 1);
    }
    sem_post(&forked);
    pthread_join(thread, NULL);
    sem_destroy(&forked);
    int status = -1;
    check_equal(waitpid(child, &status, 0), child);
    check_equal(status, 0);
    child = fork();
    if (child == 0)
        _exit(skerry_exists(locals[1], "", 0) == SKERRY_WRONG_THREAD ? 0 : 1);
    check_equal(waitpid(child, &status, 0), child);
    check_equal(status, 0);
    check_equal(skerry_close(locals[0]), SKERRY_OK);
    check_equal(skerry_close(locals[1]), SKERRY_OK);
}

TESTS(TEST(options_outside_their_range_open_nothing), TEST(structs_of_older_and_newer_callers_are_understood),
      TEST(every_status_has_its_text), TEST(the_last_clone_closes_the_store),
      TEST(local_stores_keep_the_keys_of_their_shards_and_refuse_others), TEST(two_threads_in_one_local_store_are_detected),
      TEST(a_local_store_can_be_handed_over), TEST(threads_share_a_store_without_losing_a_step),
      TEST(a_shared_store_works_on_both_sides_of_a_fork), TEST(a_forked_child_keeps_its_own_local_store_and_no_other))
