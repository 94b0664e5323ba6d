// SPDX-License-Identifier: Apache-2.0
#include "base/free_list.h"
#include "base/test.h"

struct node {
    uint64_t words[4];
};

static void what_was_given_back_last_is_used_first(void)
{
    struct free_list l = { 0 };
    check(free_list_take(&l) == NULL);
    void *a = free_list_new(&l, sizeof(struct node)), *b = free_list_new(&l, sizeof(struct node));
    check(a != NULL && b != NULL && a != b);
    free_list_give(&l, a);
    free_list_give(&l, b);
    check_equal(l.count, 2);
    check(free_list_new(&l, sizeof(struct node)) == b);
    check(free_list_take(&l) == a);
    check_equal(l.count, 0);
    check(free_list_take(&l) == NULL);
    free(a);
    free(b);
}

static void no_more_are_kept_than_are_soon_used_again(void)
{
    struct free_list l = { 0 };
    for (int i = 0; i < FREE_LIST_KEEP + 10; i++)
        free_list_give(&l, malloc(sizeof(struct node)));
    check_equal(l.count, FREE_LIST_KEEP);
    free_list_deinit(&l);
    check_equal(l.count, 0);
    check(l.first == NULL);
}

static void what_is_set_aside_is_kept_however_much_it_is(void)
{
    struct free_list l = { 0 };
    for (int i = 0; i < FREE_LIST_KEEP + 10; i++)
        free_list_keep(&l, malloc(sizeof(struct node)));
    check_equal(l.count, FREE_LIST_KEEP + 10);
    free_list_give(&l, malloc(sizeof(struct node)));
    check_equal(l.count, FREE_LIST_KEEP + 10);
    free_list_deinit(&l);
}

TESTS(TEST(what_was_given_back_last_is_used_first), TEST(no_more_are_kept_than_are_soon_used_again),
      TEST(what_is_set_aside_is_kept_however_much_it_is))
