// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <sched.h>

#include "base/spsc.h"
#include "base/test.h"

static void *item(uintptr_t number)
{
    return (void *)number;
}

static void an_empty_ring_gives_nothing_and_a_full_one_takes_nothing(void)
{
    for (uint32_t capacity = 1; capacity <= 16; capacity *= 2) {
        void *slots[16];
        struct spsc q;
        spsc_init(&q, slots, capacity);
        check(spsc_pop(&q) == NULL);
        for (uint32_t i = 0; i < capacity; i++)
            check(spsc_push(&q, item(i + 1)));
        check(!spsc_push(&q, item(99)));
        check_equal(spsc_count(&q), capacity);
        check(spsc_pop(&q) == item(1));
        check(spsc_push(&q, item(capacity + 1)));
        check(!spsc_push(&q, item(99)));
        for (uint32_t i = 2; i <= capacity + 1; i++)
            check(spsc_pop(&q) == item(i));
        check(spsc_pop(&q) == NULL && spsc_count(&q) == 0);
    }
}

// The indices only ever grow; the difference counts.
static void a_ring_goes_on_when_its_indices_wrap(void)
{
    void *slots[4];
    struct spsc q;
    spsc_init(&q, slots, 4);
    uint32_t near = UINT32_MAX - 5;
    q.tail = q.head = near;
    q.head_seen = q.tail_seen = near;
    uintptr_t in = 1, out = 1;
    for (int lap = 0; lap < 20; lap++) {
        while (spsc_push(&q, item(in)))
            in++;
        check_equal(spsc_count(&q), 4);
        for (int i = 0; i < 3; i++)
            check(spsc_pop(&q) == item(out++));
    }
    check_equal(in - out, 1);
}

enum { ITEMS = 300000 };

struct payload {
    uint64_t number, check;
};

static struct payload payloads[ITEMS];

static void *produce(void *context)
{
    struct spsc *q = context;
    for (uint64_t i = 0; i < ITEMS; i++) {
        payloads[i] = (struct payload){ .number = i, .check = ~i };
        while (!spsc_push(q, &payloads[i]))
            sched_yield();
    }
    return NULL;
}

static void what_was_written_before_a_push_is_seen_after_the_pop(void)
{
    void *slots[64];
    struct spsc q;
    spsc_init(&q, slots, 64);
    pthread_t producer;
    int rc = pthread_create(&producer, NULL, produce, &q);
    check_equal(rc, 0);
    if (rc != 0)
        return;
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < ITEMS;) {
        struct payload *p = spsc_pop(&q);
        if (p == NULL) {
            sched_yield();
            continue;
        }
        wrong += p != &payloads[i] || p->number != i || p->check != ~i;
        i++;
    }
    pthread_join(producer, NULL);
    check_equal(wrong, 0);
    check(spsc_pop(&q) == NULL);
}

TESTS(TEST(an_empty_ring_gives_nothing_and_a_full_one_takes_nothing), TEST(a_ring_goes_on_when_its_indices_wrap),
      TEST(what_was_written_before_a_push_is_seen_after_the_pop))
