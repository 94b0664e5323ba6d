// SPDX-License-Identifier: Apache-2.0
#include "engine/store/entry.h"

#include <string.h>

#include "base/test.h"

static uint8_t memory[70000];

static struct entry *make(struct entry_plan *plan)
{
    struct entry *e = (struct entry *)(void *)memory;
    memset(memory, 0xee, sizeof memory);
    entry_plan(plan, false);
    entry_write_head(e, plan);
    return e;
}

static void a_small_entry_has_a_header_of_three_bytes(void)
{
    struct entry_plan plan = { .key_len = 16, .value_len = 64, .deadline = ENTRY_NO_DEADLINE };
    make(&plan);
    check_equal(plan.size, 83);
    plan.deadline = INT64_C(1750000000000);
    make(&plan);
    check_equal(plan.size, 88);
    plan.recency_len = 3;
    make(&plan);
    check_equal(plan.size, 91);
    plan.recency_len = 1;
    plan.deadline = ENTRY_NO_DEADLINE;
    make(&plan);
    check_equal(plan.size, 84); // four bytes in a cache
}

static void every_form_says_what_was_written(void)
{
    static const size_t KEYS[] = { 0, 1, 255, 256, 32768 };
    static const size_t VALUES[] = { 0, 1, 255, 256, 30000 };
    static const int64_t DEADLINES[] = { ENTRY_NO_DEADLINE,        0,        1000, ENTRY_EPOCH - 1, ENTRY_EPOCH, INT64_C(1750000000000),
                                         INT64_C(253402300799000), INT64_MAX };
    for (int k = 0; k < 5; k++) {
        for (int v = 0; v < 5; v++) {
            for (int d = 0; d < 8; d++) {
                struct entry_plan plan = { .key_len = KEYS[k], .value_len = VALUES[v], .deadline = DEADLINES[d], .type = ENTRY_STREAM };
                static const uint8_t RECENCY_LENS[] = { 0, 1, 3 };
                plan.recency_len = RECENCY_LENS[(k + v + d) % 3];
                plan.recency = plan.recency_len == 1 ? 0x7f : 0x6bcdef;
                struct entry *e = make(&plan);
                check_equal(entry_head_len(e), plan.head_len);
                check_equal(entry_key(e).len, KEYS[k]);
                check_equal(entry_value(e).len, VALUES[v]);
                check(entry_value(e).data == entry_key(e).data + KEYS[k]);
                check_equal(entry_deadline(e), DEADLINES[d]);
                check_equal(entry_type(e), ENTRY_STREAM);
                check(!entry_mark(e));
                entry_set_mark(e, true);
                check(entry_mark(e) && entry_type(e) == ENTRY_STREAM && entry_deadline(e) == DEADLINES[d]);
                check_equal(entry_recency_len(e), plan.recency_len);
                if (plan.recency_len == 1)
                    check_equal(*entry_recency(e), 0x7f);
                if (plan.recency_len == 3)
                    check_equal(entry_recency_load(entry_recency(e)), 0x6bcdef);
                check_equal(plan.size, plan.head_len + KEYS[k] + VALUES[v]);
            }
        }
    }
}

static void the_largest_deadline_of_five_bytes_is_not_the_wide_mark(void)
{
    int64_t last = ENTRY_EPOCH + (int64_t)ENTRY_WIDE - 1;
    check(!entry_deadline_wide(last) && entry_deadline_wide(last + 1));
    struct entry_plan plan = { .key_len = 1, .value_len = 1, .deadline = last };
    check_equal(entry_deadline(make(&plan)), last);
    plan.deadline = last + 1;
    check_equal(entry_deadline(make(&plan)), last + 1);
    check_equal(entry_expired(make(&plan), last), 0);
    check_equal(entry_expired(make(&plan), last + 1), 1);
}

TESTS(TEST(a_small_entry_has_a_header_of_three_bytes), TEST(every_form_says_what_was_written),
      TEST(the_largest_deadline_of_five_bytes_is_not_the_wide_mark))
