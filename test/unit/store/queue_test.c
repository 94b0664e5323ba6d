// SPDX-License-Identifier: Apache-2.0
#include "engine/store/queue.h"

#include <string.h>

#include "base/prng.h"
#include "base/test.h"
#include "test/unit/store/pages.h"

#define COUNT 20000u

struct world {
    struct pages pages;
    struct slabs slabs;
    struct queue queue;
    uint32_t refs[COUNT];
    uint32_t numbers[COUNT]; // of the chunk that each reference's record is in
    bool live[COUNT];
};

static void world_start(struct world *w)
{
    memset(w, 0, sizeof *w);
    pages_init(&w->pages);
    check_equal(slabs_init(&w->slabs, &w->pages.memory), 0);
    queue_init(&w->queue, &w->slabs);
    for (uint32_t i = 0; i < COUNT; i++)
        w->refs[i] = slab_take(&w->slabs, SLAB_ENTRY, 16);
}

static void world_stop(struct world *w)
{
    slabs_deinit(&w->slabs);
    check_equal(w->pages.held, 0);
}

static void push(struct world *w, uint32_t i)
{
    check_equal(queue_make_room(&w->queue), 0);
    w->numbers[i] = queue_push(&w->queue, w->refs[i]);
    w->live[i] = true;
    w->queue.live++;
}

static uint32_t find(const struct world *w, uint32_t ref)
{
    uint32_t low = 0;
    while (low < COUNT && w->refs[low] != ref)
        low++;
    return low;
}

static void what_is_pushed_first_is_popped_first(void)
{
    static struct world w;
    world_start(&w);
    uint32_t pushed = 0, popped = 0;
    struct queue_record r;
    check(!queue_pop(&w.queue, &r));
    for (uint32_t round = 0; round < 40; round++) {
        for (uint32_t i = 0; i < 100 + round * 10 && pushed < COUNT; i++)
            push(&w, pushed++);
        for (uint32_t i = 0; i < 90 + round * 10; i++, popped++) {
            check(queue_pop(&w.queue, &r));
            check(r.ref == w.refs[popped] && r.number == w.numbers[popped]);
        }
    }
    check_equal(w.queue.records, pushed - popped);
    while (queue_pop(&w.queue, &r))
        check(r.ref == w.refs[popped++]);
    check(popped == pushed && w.queue.records == 0);
    world_stop(&w);
}

struct sweep {
    struct world *world;
    uint32_t at; // references are asked about in their order
};

static bool is_live(void *context, struct queue_record r)
{
    struct sweep *s = context;
    while (s->world->refs[s->at] != r.ref)
        s->at = (s->at + 1) % COUNT;
    check(s->world->numbers[s->at] == r.number);
    return s->world->live[s->at];
}

static void is_moved(void *context, struct queue_record r)
{
    struct sweep *s = context;
    s->world->numbers[find(s->world, r.ref)] = r.number;
}

static void a_sweep_drops_the_dead_and_keeps_the_order(void)
{
    static struct world w;
    world_start(&w);
    struct prng prng;
    prng_init(&prng, 1);
    for (uint32_t i = 0; i < COUNT; i++)
        push(&w, i);
    for (uint32_t i = 0; i < COUNT; i++) {
        w.live[i] = prng_next(&prng) % 10 == 0;
        w.queue.live -= !w.live[i];
    }
    check(queue_wants_sweep(&w.queue));
    uint64_t held = w.slabs.used[SLAB_ORDER];
    struct sweep s = { .world = &w };
    struct queue_record r;
    uint32_t at = 0;
    for (int steps = 0;; steps++) {
        uint32_t budget = 40;
        if (!queue_sweep(&w.queue, &budget, is_live, is_moved, &s))
            break;
        check(steps < 10000);
        if (steps % 3 != 0) // popping and sweeping go on side by side
            continue;
        check(queue_pop(&w.queue, &r));
        while (w.refs[at] != r.ref)
            at++;
        check(w.numbers[at] == r.number);
        w.queue.live -= w.live[at++];
    }
    check(!queue_wants_sweep(&w.queue));
    check(w.slabs.used[SLAB_ORDER] < held / 5);
    check_equal(w.queue.records, w.queue.live);
    for (; queue_pop(&w.queue, &r); at++) {
        while (!w.live[at])
            at++;
        check(w.refs[at] == r.ref && w.numbers[at] == r.number);
    }
    world_stop(&w);
}

static void a_given_up_queue_is_freed_in_pieces(void)
{
    static struct world w;
    world_start(&w);
    for (uint32_t i = 0; i < COUNT; i++)
        push(&w, i);
    uint32_t chunks = queue_detach(&w.queue), steps = 0, budget = 5;
    check(w.queue.records == 0 && w.queue.live == 0);
    for (; !queue_free_some(&w.slabs, &chunks, &budget); budget = 5)
        steps++;
    check(steps > 10 && w.slabs.used[SLAB_ORDER] == 0);
    world_stop(&w);
}

static void without_memory_a_push_is_refused_before_it_begins(void)
{
    static struct world w;
    world_start(&w);
    while (slab_take(&w.slabs, SLAB_ENTRY, 65536) != 0 && w.slabs.arena.frontier < 64 * ARENA_EXTENT_GRANULES)
        continue;
    uint32_t granules = w.slabs.arena.granules;
    w.slabs.arena.granules = w.slabs.arena.frontier; // as if that were all
    while (slab_take(&w.slabs, SLAB_ENTRY, 1024) != 0)
        continue;
    while (queue_make_room(&w.queue) == 0)
        (void)queue_push(&w.queue, w.refs[0]);
    uint64_t records = w.queue.records;
    check(queue_make_room(&w.queue) < 0 && w.queue.records == records);
    struct queue_record r;
    while (queue_pop(&w.queue, &r))
        records--;
    check_equal(records, 0);
    w.slabs.arena.granules = granules;
    world_stop(&w);
}

TESTS(TEST(what_is_pushed_first_is_popped_first), TEST(a_sweep_drops_the_dead_and_keeps_the_order),
      TEST(a_given_up_queue_is_freed_in_pieces), TEST(without_memory_a_push_is_refused_before_it_begins))
