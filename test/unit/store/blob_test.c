// SPDX-License-Identifier: Apache-2.0
#include "engine/store/blob.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/prng.h"
#include "base/test.h"
#include "test/unit/store/pages.h"

static struct pages pages;

static struct blobs *home_new(void)
{
    pages_init(&pages);
    struct blobs *home = blobs_new(&pages.memory);
    check(home != NULL);
    return home;
}

static void home_close(struct blobs *home)
{
    blobs_close(home);
    check_equal(pages.held, 0);
}

static uint64_t in_use(struct blobs *home)
{
    while (blobs_collect(home))
        continue;
    check(home->runs.base == NULL || runs_valid(&home->runs));
    return home->runs.taken_count * RUNS_PAGE + home->mapped;
}

static void receive(struct blob *b, size_t announced, size_t len)
{
    while (b->len < len) {
        size_t room = blob_reserve(b, announced - b->len);
        check(room > 0);
        size_t arrived = room < 5000 ? room : 5000;
        memset(b->data + b->len, (int)(b->len / 5000), arrived);
        b->len += arrived;
        check(b->cap <= 2 * b->len + BLOB_FIRST);
    }
}

static void capacity_follows_what_arrives_not_what_is_announced(void)
{
    static const size_t ANNOUNCED[] = { 300000, 3u << 20, 512u << 20 };
    for (size_t i = 0; i < 3; i++) {
        struct blobs *home = home_new();
        struct blob *b = blob_new(home);
        check_equal(pages.held, 0);
        receive(b, ANNOUNCED[i], ANNOUNCED[i] < 10u << 20 ? ANNOUNCED[i] : 10u << 20);
        check_equal(in_use(home), b->cap);
        blob_trim(b);
        check(b->cap < b->len + BLOB_GAP + 4096);
        check(b->data[4999] == 0 && b->data[5000] == 1);
        check_equal(in_use(home), b->cap);
        blob_free(b);
        check_equal(in_use(home), 0);
        home_close(home);
    }
}

static void a_value_grows_where_it_is_while_it_arrives(void)
{
    struct blobs *home = home_new();
    struct blob *b = blob_new(home);
    check(blob_reserve(b, 3u << 20) > 0);
    const uint8_t *at = b->data;
    receive(b, 3u << 20, 3u << 20);
    check(b->data == at && !b->mapped);
    blob_free(b);
    home_close(home);
}

static void no_room_is_said_and_what_came_stays(void)
{
    struct blobs *home = home_new();
    pages.range_max = 1 << 20; // no range is to be had: each value is a mapping
    struct blob *b = blob_new(home);
    check_equal(blob_reserve(b, 1), 1);
    check(b->mapped);
    b->data[0] = 'x';
    b->len = b->cap - BLOB_GAP;
    pages.fail_in = 0;
    pages.fail_on = true;
    check_equal(blob_reserve(b, 1), 0);
    check(!blob_set_len(b, 10u << 20));
    check(b->data[0] == 'x' && b->len == b->cap - BLOB_GAP);
    check(blob_copy(home, slice_of("abc", 3)) == NULL);
    blob_free(b);
    home_close(home);
}

static void lengths_grow_with_zeros_and_shrink_with_pages(void)
{
    struct blobs *home = home_new();
    struct blob *b = blob_copy(home, slice_of("abc", 3));
    check(blob_set_len(b, 100000));
    check(b->data[2] == 'c' && b->data[3] == 0 && b->data[99999] == 0);
    memset(b->data, 1, 100000);
    check(blob_set_len(b, 10) && in_use(home) == 4096);
    check(blob_set_len(b, 2000) && b->data[9] == 1 && b->data[10] == 0 && b->data[1999] == 0);
    blob_free(b);
    home_close(home);
}

static void the_last_pin_frees_what_the_owner_let_go(void)
{
    struct blobs *home = home_new();
    struct blob *b = blob_copy(home, slice_of("abc", 3));
    blob_pin(b);
    blob_pin(b);
    blob_free(b);
    blob_unpin(b);
    check(memcmp(b->data, "abc", 3) == 0);
    blob_unpin(b);
    check_equal(in_use(home), 0);
    home_close(home);
}

static void what_another_took_over_comes_home_even_after_closing(void)
{
    struct blobs *home = home_new();
    struct blobs *other = blobs_new(&pages.memory);
    struct blob *kept = blob_copy(home, slice_of("abc", 3)), *grown = blob_copy(home, slice_of("defg", 4));
    kept->owner = grown->owner = other;
    check(blob_set_len(grown, 200000));
    check(memcmp(grown->data, "defg", 5) == 0 && grown->home == other);
    check_equal(in_use(home), 4096);
    blob_trim(kept);
    blobs_close(home);
    check(memcmp(kept->data, "abc", 3) == 0);
    blob_free(kept);
    blob_free(grown);
    check_equal(in_use(other), 0);
    home_close(other);
}

#define MANY 300

// Many values of all lengths come, grow, shrink and go; none loses a byte, and the free pages are one run in the end.
static void runs_never_overlap_and_join_again(void)
{
    struct blobs *home = home_new();
    struct prng prng;
    prng_init(&prng, 5);
    static struct blob *values[MANY];
    for (uint32_t step = 0; step < 40000; step++) {
        uint32_t i = (uint32_t)prng_below(&prng, MANY);
        struct blob **b = &values[i];
        size_t len = 1 + prng_below(&prng, prng_below(&prng, 16) == 0 ? 6u << 20 : 150000);
        if (*b == NULL) {
            *b = blob_copy(home, slice_of(NULL, 0));
            check(blob_set_len(*b, len));
        } else {
            uint32_t first, last;
            memcpy(&first, (*b)->data, sizeof first);
            memcpy(&last, (*b)->data + (*b)->len - sizeof last, sizeof last);
            check(first == i && last == i);
            if (prng_below(&prng, 2) == 0)
                *b = blob_free(*b);
            else
                check(blob_set_len(*b, len + sizeof i));
        }
        if (*b != NULL) {
            check((*b)->len >= sizeof i || blob_set_len(*b, sizeof i));
            memcpy((*b)->data, &i, sizeof i);
            memcpy((*b)->data + (*b)->len - sizeof i, &i, sizeof i);
        }
        if (step % 1000 == 0) {
            size_t cap = 0;
            for (uint32_t k = 0; k < MANY; k++)
                cap += values[k] != NULL ? values[k]->cap : 0;
            check_equal(in_use(home), cap);
            (void)blobs_discard(home, 1 << 20);
        }
    }
    for (uint32_t k = 0; k < MANY; k++)
        values[k] = blob_free(values[k]);
    check_equal(in_use(home), 0);
    check(home->runs.tags[0].pages == home->runs.frontier);
    home_close(home);
}

static void free_pages_go_back_in_pieces(void)
{
    struct blobs *home = home_new();
    static struct blob *values[400];
    for (uint32_t i = 0; i < 400; i++) {
        values[i] = blob_copy(home, slice_of(NULL, 0));
        check(blob_set_len(values[i], 100000));
    }
    for (uint32_t i = 0; i < 400; i++)
        values[i] = i % 8 == 0 ? values[i] : blob_free(values[i]);
    uint64_t used = in_use(home), pieces = 0;
    for (uint64_t before = pages.discarded; blobs_discard(home, 1 << 20); before = pages.discarded, pieces++)
        check(pages.discarded - before <= RUNS_STEP * RUNS_PAGE);
    check(pieces > 10);
    check(blobs_resident(home) < used + used / 32 + (3u << 20));
    for (uint32_t i = 0; i < 400; i += 8)
        blob_free(values[i]);
    check_equal(in_use(home), 0);
    while (blobs_discard(home, 1 << 20))
        check(runs_valid(&home->runs));
    check(home->runs.frontier < 20 * RUNS_STEP && blobs_resident(home) < 2 << 20);
    home_close(home);
}

static uint32_t mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    uint32_t lines = 0;
    for (int c; f != NULL && (c = fgetc(f)) != EOF;)
        lines += c == '\n';
    if (f != NULL)
        fclose(f);
    return lines;
}

static void ten_thousand_values_are_not_ten_thousand_mappings(void)
{
    struct blobs *home = home_new();
    enum { COUNT = 10000 };
    struct blob **values = calloc(COUNT, sizeof *values);
    uint32_t before = mappings();
    check(before > 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        values[i] = blob_new(home);
        check(blob_reserve(values[i], BLOB_MIN) == BLOB_MIN); // its pages stay untouched
    }
    check(mappings() < before + 20);
    for (uint32_t i = 0; i < COUNT; i++)
        blob_free(values[i]);
    free(values);
    home_close(home);
}

TESTS(TEST(capacity_follows_what_arrives_not_what_is_announced), TEST(a_value_grows_where_it_is_while_it_arrives),
      TEST(no_room_is_said_and_what_came_stays), TEST(lengths_grow_with_zeros_and_shrink_with_pages),
      TEST(the_last_pin_frees_what_the_owner_let_go), TEST(what_another_took_over_comes_home_even_after_closing),
      TEST(runs_never_overlap_and_join_again), TEST(free_pages_go_back_in_pieces), TEST(ten_thousand_values_are_not_ten_thousand_mappings))
