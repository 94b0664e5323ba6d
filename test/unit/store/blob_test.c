// SPDX-License-Identifier: Apache-2.0
#include "engine/store/blob.h"

#include <string.h>

#include "base/test.h"
#include "test/unit/store/pages.h"

static void capacity_follows_what_arrives_not_what_is_announced(void)
{
    struct pages pages;
    pages_init(&pages);
    struct blob *b = blob_new(&pages.memory);
    check_equal(pages.held, 0);
    size_t announced = (size_t)512 << 20;
    while (b->len < 10u << 20) {
        size_t room = blob_reserve(b, announced - b->len);
        check(room > 0);
        size_t arrived = room < 5000 ? room : 5000;
        memset(b->data + b->len, (int)(b->len / 5000), arrived);
        b->len += arrived;
        check(b->cap <= 2 * b->len + BLOB_FIRST);
    }
    check_equal(pages.held, b->cap);
    blob_trim(b);
    check(b->cap < b->len + BLOB_GAP + 4096);
    check(b->data[4999] == 0 && b->data[5000] == 1);
    blob_free(b);
    check_equal(pages.held, 0);
}

static void no_room_is_said_and_what_came_stays(void)
{
    struct pages pages;
    pages_init(&pages);
    struct blob *b = blob_new(&pages.memory);
    check_equal(blob_reserve(b, 1), 1);
    b->data[0] = 'x';
    b->len = b->cap - BLOB_GAP;
    pages.fail_in = 0;
    pages.fail_on = true;
    check_equal(blob_reserve(b, 1), 0);
    check(!blob_set_len(b, 10u << 20));
    check(b->data[0] == 'x' && b->len == b->cap - BLOB_GAP);
    check(blob_copy(&pages.memory, slice_of("abc", 3)) == NULL);
    blob_free(b);
    check_equal(pages.held, 0);
}

static void lengths_grow_with_zeros_and_shrink_with_pages(void)
{
    struct pages pages;
    pages_init(&pages);
    struct blob *b = blob_copy(&pages.memory, slice_of("abc", 3));
    check(blob_set_len(b, 100000));
    check(b->data[2] == 'c' && b->data[3] == 0 && b->data[99999] == 0);
    memset(b->data, 1, 100000);
    check(blob_set_len(b, 10) && pages.held == 4096);
    check(blob_set_len(b, 2000) && b->data[9] == 1 && b->data[10] == 0 && b->data[1999] == 0);
    blob_free(b);
    check_equal(pages.held, 0);
}

static void the_last_pin_frees_what_the_owner_let_go(void)
{
    struct pages pages;
    pages_init(&pages);
    struct blob *b = blob_copy(&pages.memory, slice_of("abc", 3));
    blob_pin(b);
    blob_pin(b);
    blob_free(b);
    blob_unpin(b);
    check(memcmp(b->data, "abc", 3) == 0);
    blob_unpin(b);
    check_equal(pages.held, 0);
}

TESTS(TEST(capacity_follows_what_arrives_not_what_is_announced), TEST(no_room_is_said_and_what_came_stays),
      TEST(lengths_grow_with_zeros_and_shrink_with_pages), TEST(the_last_pin_frees_what_the_owner_let_go))
