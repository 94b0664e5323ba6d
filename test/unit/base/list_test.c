// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/state.h"
#include "base/test.h"

struct item {
    int number;
    struct list node;
};

static struct item items[5];

static void fill(struct list *l)
{
    list_init(l);
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_append(l, &items[i].node);
    }
}

// The numbers in order as decimal digits, checked in both directions.
static int digits(const struct list *l)
{
    int forward = 0, backward = 0, unit = 1;
    for (struct list *n = l->next; n != l; n = n->next)
        forward = forward * 10 + container_of(n, struct item, node)->number;
    for (struct list *n = l->prev; n != l; n = n->prev, unit *= 10)
        backward += unit * container_of(n, struct item, node)->number;
    return forward == backward ? forward : -1;
}

static void an_empty_list_has_nothing(void)
{
    struct list l;
    list_init(&l);
    check(list_empty(&l) && list_first(&l) == NULL && list_take_first(&l) == NULL);
    list_for_each (n, &l)
        check(n == NULL);
}

static void items_keep_their_order(void)
{
    struct list l;
    fill(&l);
    check_equal(digits(&l), 1234); // 01234
    struct item first = { .number = 9 };
    list_prepend(&l, &first.node);
    check_equal(digits(&l), 901234);
    check(list_first(&l) == &first.node);
    check(list_take_first(&l) == &first.node);
    check(list_take_first(&l) == &items[0].node);
    check_equal(digits(&l), 1234);
}

static void an_item_leaves_from_anywhere_and_twice(void)
{
    struct list l;
    fill(&l);
    list_remove(&items[2].node);
    check_equal(digits(&l), 134);
    list_remove(&items[2].node);
    check_equal(digits(&l), 134);
    check(list_empty(&items[2].node));
    list_remove(&items[0].node);
    list_remove(&items[4].node);
    check_equal(digits(&l), 13);
    list_append(&l, &items[2].node);
    check_equal(digits(&l), 132);
}

static void a_walk_may_remove_where_it_stands(void)
{
    struct list l;
    fill(&l);
    list_for_each_safe (n, &l) {
        if (container_of(n, struct item, node)->number % 2 == 0)
            list_remove(n);
    }
    check_equal(digits(&l), 13);
    list_for_each_safe (n, &l)
        list_remove(n);
    check(list_empty(&l));
}

static void a_machine_makes_the_moves_of_its_table(void)
{
    enum { OPEN, DRAINING, CLOSED };
    static const uint32_t MOVES[] = { [OPEN] = STATE(DRAINING) | STATE(CLOSED), [DRAINING] = STATE(CLOSED), [CLOSED] = 0 };
    uint8_t state = OPEN;
    state_move(&state, DRAINING, MOVES);
    check_equal(state, DRAINING);
    state_move(&state, CLOSED, MOVES);
    check_equal(state, CLOSED);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fclose(stderr);
        state_move(&state, OPEN, MOVES);
        _exit(0);
    }
    int status = 0;
    check(waitpid(child, &status, 0) == child);
    check(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); // the move that the table lacks
}

TESTS(TEST(an_empty_list_has_nothing), TEST(items_keep_their_order), TEST(an_item_leaves_from_anywhere_and_twice),
      TEST(a_walk_may_remove_where_it_stands), TEST(a_machine_makes_the_moves_of_its_table))
