// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/mesh.h"

#include <stdlib.h>

#include "base/test.h"
#include "engine/shard/worker.h"
#include "reactor/backend.h"

#define WORKERS 3

static struct mesh_rings *rings;
static struct worker *workers[WORKERS];
static struct reactor reactors[WORKERS];

static void set_up(void)
{
    static const struct reactor_ops no_ops;
    rings = mesh_rings_new(WORKERS);
    for (uint32_t i = 0; i < WORKERS; i++) {
        workers[i] = aligned_alloc(64, round_up(sizeof *workers[i], 64));
        memset(workers[i], 0, sizeof *workers[i]);
        reactor_init(&reactors[i], &no_ops, REACTOR_EPOLL);
        workers[i]->reactor = &reactors[i];
        workers[i]->id = i;
        check_equal(mesh_init(&workers[i]->mesh, rings, i, WORKERS), 0);
    }
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < WORKERS; i++) {
        mesh_deinit(&workers[i]->mesh);
        free(workers[i]);
    }
    rings = mesh_rings_free(rings);
}

static void put(uint32_t from, uint32_t to, uint64_t value)
{
    uint64_t *at = mesh_append(&workers[from]->mesh, to, MESH_REQUESTS, sizeof value);
    check(at != NULL);
    *at = value;
}

static void messages_of_a_turn_travel_in_one_block(void)
{
    set_up();
    for (uint64_t i = 0; i < 10; i++)
        put(0, 1, i);
    check(!mesh_has_mail(&workers[1]->mesh));
    mesh_push(&workers[0]->mesh, workers);
    check(mesh_has_mail(&workers[1]->mesh));
    check(!mesh_has_mail(&workers[2]->mesh));
    check_equal(mesh_collect(&workers[1]->mesh, 0), 1);
    struct mesh_block *b = mesh_take(&workers[1]->mesh, 0);
    check(b != NULL);
    check_equal(b->count, 10);
    check_equal(b->from, 0);
    for (uint64_t i = 0; i < 10; i++)
        check_equal(load_u64(b->data + i * MESH_ALIGN), i);
    check(mesh_take(&workers[1]->mesh, 0) == NULL);
    mesh_block_release(&workers[1]->mesh, b);
    check_equal(workers[0]->stats.mesh_messages, 1);
    tear_down();
}

static void the_receiver_adopts_the_block(void)
{
    set_up();
    put(0, 1, 7);
    mesh_push(&workers[0]->mesh, workers);
    struct mesh_block *b = mesh_take(&workers[1]->mesh, 0);
    mesh_block_release(&workers[1]->mesh, b);
    check_equal(workers[1]->mesh.pool_count, 1);
    put(1, 0, 8);
    check(workers[1]->mesh.peers[0].open[MESH_REQUESTS] == b);
    tear_down();
}

// One block there and back for `more` one way, for a long time.
static void talk(uint32_t from, uint32_t to, int more)
{
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < more; i++) {
            put(from, to, 1);
            mesh_push(&workers[from]->mesh, workers);
        }
        struct mesh_block *b;
        while ((b = mesh_take(&workers[to]->mesh, from)) != NULL)
            mesh_block_release(&workers[to]->mesh, b);
        put(to, from, 2);
        mesh_push(&workers[to]->mesh, workers);
        while ((b = mesh_take(&workers[from]->mesh, to)) != NULL)
            mesh_block_release(&workers[from]->mesh, b);
    }
}

static uint64_t bytes_of_all(void)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < WORKERS; i++)
        bytes += workers[i]->mesh.bytes;
    return bytes;
}

static void blocks_that_go_one_way_come_back(void)
{
    set_up();
    talk(0, 1, 3);
    uint64_t made = bytes_of_all();
    check(made <= 8 * (sizeof(struct mesh_block) + MESH_BLOCK_SIZE));
    check(workers[1]->mesh.pool_count <= 4);
    talk(1, 0, 3);
    check(bytes_of_all() <= made + 4 * (sizeof(struct mesh_block) + MESH_BLOCK_SIZE));
    tear_down();
}

static void empty_blocks_on_their_way_are_freed_with_the_rings(void)
{
    set_up();
    for (int i = 0; i < 3; i++) {
        put(0, 1, 1);
        mesh_push(&workers[0]->mesh, workers);
    }
    struct mesh_block *b;
    while ((b = mesh_take(&workers[1]->mesh, 0)) != NULL)
        mesh_block_release(&workers[1]->mesh, b);
    check_equal(workers[1]->mesh.pool_count, 3);
    put(1, 0, 2);
    mesh_push(&workers[1]->mesh, workers);
    check_equal(workers[1]->mesh.pool_count, 0); // one carries, two go with it
    tear_down();                                 // a leak is LeakSanitizer's to find
}

static void a_full_ring_loses_and_reorders_nothing(void)
{
    set_up();
    uint64_t sent = 0, seen = 0;
    // One block a push, more than the ring holds.
    for (int i = 0; i < MESH_RING_SLOTS * 3; i++) {
        put(0, 1, sent++);
        mesh_push(&workers[0]->mesh, workers);
    }
    check(mesh_has_backlog(&workers[0]->mesh));
    while (seen < sent) {
        struct mesh_block *b = mesh_take(&workers[1]->mesh, 0);
        if (b == NULL) {
            mesh_push(&workers[0]->mesh, workers);
            continue;
        }
        for (uint32_t i = 0; i < b->count; i++)
            check_equal(load_u64(b->data + i * MESH_ALIGN), seen++);
        mesh_block_release(&workers[1]->mesh, b);
    }
    check(!mesh_has_backlog(&workers[0]->mesh));
    tear_down();
}

static void a_message_larger_than_a_block_has_one_of_its_own(void)
{
    set_up();
    put(0, 1, 1);
    size_t size = MESH_BLOCK_SIZE * 3;
    uint8_t *big = mesh_append(&workers[0]->mesh, 1, MESH_REQUESTS, size);
    check(big != NULL);
    memset(big, 0x5a, size);
    put(0, 1, 3);
    mesh_push(&workers[0]->mesh, workers);
    check_equal(spsc_count(workers[1]->mesh.peers[0].in), 3);
    for (int i = 0; i < 3; i++) {
        struct mesh_block *b = mesh_take(&workers[1]->mesh, 0);
        check_equal(b->len, i == 1 ? size : MESH_ALIGN);
        mesh_block_release(&workers[1]->mesh, b);
    }
    tear_down();
}

static void room_is_where_the_append_lands(void)
{
    set_up();
    for (int i = 0; i < 5000; i++) {
        uint8_t *at;
        size_t room = mesh_room(&workers[0]->mesh, 2, MESH_REPLIES, &at);
        check(room >= 64);
        check((uint8_t *)mesh_append(&workers[0]->mesh, 2, MESH_REPLIES, 48) == at);
    }
    tear_down();
}

static void only_the_newest_message_of_its_sender_grows(void)
{
    set_up();
    struct mesh *m = &workers[0]->mesh;
    check(mesh_lengthen(m, 1, MESH_BUNDLE, 7, 24) == NULL);
    struct mesh_request *head = mesh_append(m, 1, MESH_REQUESTS, sizeof *head);
    *head = (struct mesh_request){ .cookie = 7, .size = sizeof *head, .argc = 1, .command = MESH_BUNDLE };
    check(mesh_lengthen(m, 1, MESH_BUNDLE, 8, 24) == NULL);
    check(mesh_lengthen(m, 1, MESH_BARE, 7, 24) == NULL);
    check(mesh_lengthen(m, 2, MESH_BUNDLE, 7, 24) == NULL);
    check(mesh_lengthen(m, 1, MESH_BUNDLE, 7, 24) == head + 1);
    check_equal(head->size, sizeof *head + 24);
    check_equal(head->argc, 2);
    check(mesh_lengthen(m, 1, MESH_BUNDLE, 7, MESH_BLOCK_SIZE) == NULL);
    put(0, 1, 9);
    check(mesh_lengthen(m, 1, MESH_BUNDLE, 7, 24) == NULL);
    check_equal(m->peers[1].open[MESH_REQUESTS]->len, sizeof *head + 24 + MESH_ALIGN);
    mesh_push(m, workers);
    check(mesh_lengthen(m, 1, MESH_BUNDLE, 7, 24) == NULL);
    tear_down();
}

static void a_reminded_peer_is_collected_again(void)
{
    set_up();
    mesh_remind(&workers[1]->mesh, 2);
    check_equal(mesh_collect(&workers[1]->mesh, 0), 4);
    check_equal(mesh_collect(&workers[1]->mesh, 0), 0);
    tear_down();
}

TESTS(TEST(messages_of_a_turn_travel_in_one_block), TEST(the_receiver_adopts_the_block), TEST(blocks_that_go_one_way_come_back),
      TEST(empty_blocks_on_their_way_are_freed_with_the_rings), TEST(a_full_ring_loses_and_reorders_nothing),
      TEST(a_message_larger_than_a_block_has_one_of_its_own), TEST(room_is_where_the_append_lands),
      TEST(only_the_newest_message_of_its_sender_grows), TEST(a_reminded_peer_is_collected_again))
