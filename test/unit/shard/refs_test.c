// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/refs.h"

#include <string.h>

#include "base/test.h"
#include "reactor/memory.h"

static struct blob *blob_with(char c, size_t len)
{
    struct blobs *home = blobs_new(memory_system(-1, MEMORY_HUGE_OFF));
    check(home != NULL);
    struct blob *b = blob_new(home);
    blobs_close(home); // goes with the blob
    check(b != NULL && blob_set_len(b, len));
    memset(b->data, c, len);
    return b;
}

// All bytes from `from` on, taken as often as it needs, `most` at a time.
static size_t collect(const struct refs *r, struct slice buffer, uint64_t from, size_t most, char *out)
{
    size_t len = 0;
    for (;;) {
        struct iovec pieces[REFS_PIECES];
        uint32_t count = refs_pieces(r, buffer, from + len, pieces);
        check(count <= REFS_PIECES);
        if (count == 0)
            return len;
        size_t left = most;
        for (uint32_t i = 0; i < count && left > 0; i++) {
            check(pieces[i].iov_len > 0);
            size_t n = pieces[i].iov_len < left ? pieces[i].iov_len : left;
            memcpy(out + len, pieces[i].iov_base, n);
            len += n;
            left -= n;
        }
    }
}

static void values_stand_where_they_belong_from_every_byte_on(void)
{
    static const char WHOLE[] = "<aaa><bbbbb>ccc";
    struct blob *a = blob_with('a', 3), *b = blob_with('b', 5), *c = blob_with('c', 3);
    struct refs r = { 0 };
    check(refs_add(&r, 1, a) && refs_add(&r, 3, b) && refs_add(&r, 4, c));
    check_equal(r.bytes, 11);
    char got[64];
    for (size_t from = 0; from <= sizeof WHOLE - 1; from++)
        for (size_t most = 1; most < 20; most++) {
            size_t len = collect(&r, slice_of("<><>", 4), from, most, got);
            check_equal(len, sizeof WHOLE - 1 - from);
            check(memcmp(got, WHOLE + from, len) == 0);
        }
    refs_deinit(&r);
    blob_free(a);
    blob_free(b);
    blob_free(c);
}

static void more_values_than_pieces_come_in_turns(void)
{
    struct refs r = { 0 };
    struct blob *b = blob_with('v', 2);
    for (uint64_t i = 0; i < 50; i++)
        check(refs_add(&r, i, b));
    check_equal(b->holders, 51);
    char buffer[50], got[200];
    memset(buffer, '-', sizeof buffer);
    check_equal(collect(&r, slice_of(buffer, sizeof buffer), 0, 1000, got), 150);
    for (size_t i = 0; i < 150; i++)
        check_equal(got[i], i % 3 == 2 ? '-' : 'v');
    refs_deinit(&r);
    check_equal(b->holders, 1);
    blob_free(b);
}

static void a_value_whose_owner_let_go_lives_until_it_is_sent(void)
{
    struct refs r = { 0 };
    struct blob *b = blob_with('o', 100);
    check(refs_add(&r, 0, b));
    blob_free(b);
    char got[100];
    check_equal(collect(&r, slice_of("", 0), 0, 7, got), 100);
    check(got[0] == 'o' && got[99] == 'o');
    refs_deinit(&r);
}

TESTS(TEST(values_stand_where_they_belong_from_every_byte_on), TEST(more_values_than_pieces_come_in_turns),
      TEST(a_value_whose_owner_let_go_lives_until_it_is_sent))
