// SPDX-License-Identifier: Apache-2.0
#include "persist/log_port.h"

#include <pthread.h>

#include "base/test.h"

static void a_new_port_is_empty_and_off(void)
{
    struct log_port p;
    log_port_init(&p);
    check(log_port_pull(&p.in) == NULL);
    check(log_port_recycle(&p) == NULL);
    check_equal(atomic_load(&p.written), 0);
    check_equal(atomic_load(&p.durable), 0);
    check_equal(atomic_load(&p.taken_bytes), 0);
    check_equal(atomic_load(&p.room), 0);
    check_equal(atomic_load(&p.state), LOG_OFF);
    check(!atomic_load(&p.wants_sync));
    log_port_deinit(&p);
}

static void a_new_batch_is_empty(void)
{
    struct log_batch *b = log_batch_new();
    check(b != NULL && b->data.len == 0 && b->markers == NULL && b->marker_count == 0 && b->crc == 0 && !b->sync);
    buf_append(&b->data, "x", 1);
    check(!b->data.failed);
    check(log_batch_free(b) == NULL);
    check(log_batch_free(NULL) == NULL);
}

static void batches_come_out_oldest_first(void)
{
    struct log_port p;
    log_port_init(&p);
    for (uint64_t position = 1; position <= 5; position++) {
        struct log_batch *b = log_batch_new();
        b->position = position;
        log_port_send(&p, b);
    }
    struct log_batch *b = log_port_pull(&p.in);
    for (uint64_t position = 1; position <= 5; position++) {
        check(b != NULL && b->position == position);
        struct log_batch *next = b->next;
        log_port_push(&p.spent, b);
        b = next;
    }
    check(b == NULL);
    b = log_port_recycle(&p);
    check(b != NULL && b->position == 1 && b->next->position == 2);
    while (b != NULL) {
        struct log_batch *next = b->next;
        log_batch_free(b);
        b = next;
    }
    log_port_deinit(&p);
}

// The leak checker of the sanitizer builds is the judge.
static void what_is_left_in_both_lists_is_freed(void)
{
    struct log_port p;
    log_port_init(&p);
    for (int i = 0; i < 6; i++) {
        struct log_batch *b = log_batch_new();
        b->markers = calloc(2, sizeof *b->markers);
        buf_append(&b->data, "some bytes", 10);
        log_port_push(i % 2 == 0 ? &p.in : &p.spent, b);
    }
    log_port_deinit(&p);
    check(log_port_pull(&p.in) == NULL && log_port_pull(&p.spent) == NULL);
}

enum { SENT = 20000 };

static void *send_all(void *context)
{
    struct log_port *p = context;
    for (uint64_t position = 1; position <= SENT; position++) {
        struct log_batch *b = log_batch_new();
        b->position = position;
        buf_append(&b->data, &position, sizeof position);
        log_port_send(p, b);
    }
    return NULL;
}

static void two_threads_lose_nothing_and_keep_the_order(void)
{
    struct log_port p;
    pthread_t sender;
    log_port_init(&p);
    check(pthread_create(&sender, NULL, send_all, &p) == 0);
    uint64_t seen = 0;
    while (seen < SENT) {
        for (struct log_batch *b = log_port_pull(&p.in), *next; b != NULL; b = next) {
            next = b->next;
            uint64_t inside = 0;
            memcpy(&inside, b->data.data, sizeof inside);
            check(b->position == ++seen && inside == seen);
            log_batch_free(b);
        }
    }
    pthread_join(sender, NULL);
    log_port_deinit(&p);
}

TESTS(TEST(a_new_port_is_empty_and_off), TEST(a_new_batch_is_empty), TEST(batches_come_out_oldest_first),
      TEST(what_is_left_in_both_lists_is_freed), TEST(two_threads_lose_nothing_and_keep_the_order))
