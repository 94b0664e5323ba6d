// SPDX-License-Identifier: Apache-2.0
// Histories made by hand: the bad ones are rejected for the reason that they were made for, their good twins are not.
#include <stdlib.h>

#include "base/test.h"
#include "test/history/check.h"

static void judge(const char *text, const char *claim)
{
    struct history h;
    struct verdict verdict;
    FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    history_init(&h);
    check(from != NULL);
    check_equal(history_parse(&h, from), 0);
    fclose(from);
    bool good = history_check(&h, &verdict);
    if (good != (claim == NULL) || (claim != NULL && !good && strcmp(claim, verdict.claim) != 0)) {
        printf("wanted %s, got %s\n%s", claim != NULL ? claim : "good", verdict.claim != NULL ? verdict.claim : "good",
               verdict.text != NULL ? verdict.text : "");
        test_failures++;
    }
    check(good || (verdict.text != NULL && verdict.text[0] != '\0'));
    verdict_deinit(&verdict);
    history_deinit(&h);
}

static void good(const char *text)
{
    judge(text, NULL);
}

#define CIRCLE   "a circle of operations"
#define STALE    "a stale value"
#define NOBODY   "a value that nobody wrote"
#define NO_ORDER "no order explains the replies"

// ---- one register

static void a_register_read_while_it_is_written_may_hold_either(void)
{
    good("1 1-2 SET | w r1 5\n"
         "1 10-20 SET | w r1 6\n"
         "2 11-13 GET | r r1 5\n"
         "3 11-14 GET | r r1 6\n");
}

static void a_stale_read_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 3-4 SET | w r1 6\n"
          "2 5-6 GET | r r1 5\n",
          STALE);
}

static void a_value_that_comes_back_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 3-20 SET | w r1 6\n"
          "2 5-6 GET | r r1 6\n"
          "2 7-8 GET | r r1 5\n",
          STALE);
}

static void a_read_before_the_write_is_found(void)
{
    judge("1 1-2 GET | r r1 5\n"
          "2 3-4 SET | w r1 5\n",
          CIRCLE);
}

static void a_value_that_was_not_written_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "2 3-4 GET | r r1 7\n",
          NOBODY);
}

static void a_forgotten_write_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "2 3-4 GET | r r1 0\n",
          STALE);
}

static void a_write_between_another_s_reads_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "2 3-4 GET | r r1 5\n"
          "3 5-6 SET | w r1 6\n"
          "2 7-8 GET | r r1 5\n",
          STALE);
}

static void an_unanswered_write_may_be_seen_late_or_never(void)
{
    good("1 1-2 SET | w r1 5\n"
         "1 3-? SET | w r1 6\n"
         "1 3-? SET | w r1 7\n"
         "2 5-6 GET | r r1 5\n"
         "2 70-80 GET | r r1 6\n"
         "3 90-91 SET | w r1 8\n"
         "3 92-93 GET | r r1 8\n");
}

static void an_unanswered_write_that_comes_and_goes_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 3-? SET | w r1 6\n"
          "2 5-6 GET | r r1 6\n"
          "2 7-8 GET | r r1 5\n",
          STALE);
}

static void getset_chains_are_followed(void)
{
    good("1 1-2 SET | w r1 5\n"
         "1 3-9 GETSET | r r1 5; w r1 6\n"
         "2 3-9 GETSET | r r1 6; w r1 7\n"
         "3 4-8 GET | r r1 5\n"
         "3 10-11 GET | r r1 7\n");
}

static void a_lost_update_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 3-9 GETSET | r r1 5; w r1 6\n"
          "2 3-9 GETSET | r r1 5; w r1 7\n",
          "a lost update");
}

static void a_write_inside_a_chain_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 10-11 SET | w r1 9\n"
          "2 12-13 GET | r r1 9\n"
          "3 3-30 GETSET | r r1 5; w r1 6\n"
          "3 14-31 GETSET | r r1 6; w r1 7\n"
          "2 32-33 GET | r r1 9\n",
          STALE);
}

static void updates_in_a_ring_are_found(void)
{
    judge("1 1-20 GETSET | r r1 6; w r1 5\n"
          "2 1-20 GETSET | r r1 5; w r1 6\n",
          CIRCLE);
}

// ---- several registers

static void a_cut_through_two_registers_is_whole(void)
{
    good("1 1-2 MSET | w r1 1; w r2 1\n"
         "1 10-20 MSET | w r1 2; w r2 2\n"
         "2 11-12 MGET | r r1 1; r r2 1\n"
         "3 11-19 MGET | r r1 2; r r2 2\n"
         "2 30-31 MGET | r r2 2; r r1 2\n");
}

static void half_a_write_of_two_registers_is_found(void)
{
    judge("1 1-2 MSET | w r1 1; w r2 1\n"
          "1 10-20 MSET | w r1 2; w r2 2\n"
          "2 11-12 MGET | r r1 1; r r2 2\n",
          CIRCLE);
}

static void half_a_lost_transaction_is_found(void)
{
    judge("1 1-2 MSET | w r1 1; w r2 1\n"
          "1 10-? EXEC | w r1 2; w r2 2\n"
          "2 21-22 GET | r r1 2\n"
          "2 23-24 GET | r r2 1\n",
          CIRCLE);
}

static void two_cuts_that_disagree_are_found(void)
{
    judge("1 1-2 MSET | w r1 1; w r2 1\n"
          "1 10-40 SET | w r1 2\n"
          "2 10-40 SET | w r2 2\n"
          "3 11-30 MGET | r r1 2; r r2 1\n"
          "4 11-30 MGET | r r1 1; r r2 2\n",
          CIRCLE);
}

static void two_cuts_that_agree_are_good(void)
{
    good("1 1-2 MSET | w r1 1; w r2 1\n"
         "1 10-40 SET | w r1 2\n"
         "2 10-40 SET | w r2 2\n"
         "3 11-30 MGET | r r1 2; r r2 1\n"
         "4 11-30 MGET | r r1 1; r r2 1\n"
         "5 11-30 MGET | r r1 2; r r2 2\n");
}

static void write_skew_is_found(void)
{
    judge("1 1-2 MSET | w r1 1; w r2 1\n"
          "1 10-20 EXEC | r r1 1; r r2 1; w r1 2\n"
          "2 10-20 EXEC | r r1 1; r r2 1; w r2 2\n",
          CIRCLE);
}

static void a_transaction_that_does_not_see_its_write_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 3-4 EXEC | w r1 6; r r1 5\n",
          "a transaction that does not see its own write");
}

static void a_value_inside_a_transaction_is_found(void)
{
    judge("1 1-9 EXEC | w r1 5; w r1 6\n"
          "2 1-9 GET | r r1 5\n",
          "a value in the middle of a transaction");
}

static void what_a_discarded_transaction_wrote_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "1 3-4 DISCARD |\n"
          "2 5-6 GET | r r1 6\n",
          NOBODY);
}

// ---- registers that are renamed and removed

static void a_rename_moves_at_one_moment(void)
{
    good("1 1-2 SET | w r1 4\n"
         "1 3-4 SET | w t1 5\n"
         "1 10-20 RENAME | r t1 5; w t1 0; w r1 5\n"
         "2 5-12 MGET | r t1 5; r r1 4\n"
         "3 11-19 MGET | r t1 0; r r1 5\n"
         "2 1-3 MGET | r t1 0; r r1 4\n");
}

static void a_rename_seen_half_is_found(void)
{
    judge("1 1-2 SET | w r1 4\n"
          "1 3-4 SET | w t1 5\n"
          "1 10-20 RENAME | r t1 5; w t1 0; w r1 5\n"
          "2 11-12 MGET | r t1 0; r r1 4\n",
          CIRCLE);
}

static void a_rename_seen_twice_is_found(void)
{
    judge("1 1-2 SET | w r1 4\n"
          "1 3-4 SET | w t1 5\n"
          "1 10-20 RENAME | r t1 5; w t1 0; w r1 5\n"
          "2 11-12 MGET | r t1 5; r r1 5\n",
          CIRCLE);
}

static void half_a_removal_is_found(void)
{
    judge("1 1-2 MSET | w t1 4; w t2 4\n"
          "1 10-20 DEL | r t1 4; r t2 4; w t1 0; w t2 0\n"
          "2 11-12 MGET | r t1 0; r t2 4\n",
          CIRCLE);
}

static void a_value_that_vanishes_is_found(void)
{
    judge("1 1-2 SET | w t1 5\n"
          "2 3-4 GET | r t1 0\n",
          "a value that vanished");
}

// ---- append lists

static void lists_grow_in_one_order(void)
{
    good("1 1-9 APPEND | a l1 11 1\n"
         "2 1-9 APPEND | a l1 12 2\n"
         "3 2-5 GET | l l1 11\n"
         "3 6-7 GET | l l1 11,12\n"
         "4 1-? APPEND | a l1 13\n"
         "3 8-9 GET | l l1 11,12,13\n");
}

static void two_orders_of_a_list_are_found(void)
{
    judge("1 1-9 APPEND | a l1 11\n"
          "2 1-9 APPEND | a l1 12\n"
          "3 2-5 GET | l l1 11,12\n"
          "4 6-7 GET | l l1 12,11\n",
          "two orders of one list");
}

static void a_token_twice_is_found(void)
{
    judge("1 1-9 APPEND | a l1 11\n"
          "3 2-5 GET | l l1 11,11\n",
          "a token twice in a list");
}

static void a_lost_append_is_found(void)
{
    judge("1 1-2 APPEND | a l1 11 1\n"
          "2 3-4 APPEND | a l1 12 2\n"
          "3 5-6 GET | l l1 11\n",
          CIRCLE);
}

static void appends_against_the_clock_are_found(void)
{
    judge("1 1-2 APPEND | a l1 11 2\n"
          "2 3-4 APPEND | a l1 12 1\n",
          CIRCLE);
}

static void a_transaction_torn_in_a_list_is_found(void)
{
    judge("1 1-9 EXEC | a l1 11 1; a l1 12 3\n"
          "2 1-9 APPEND | a l1 13 2\n",
          CIRCLE);
}

static void lists_appended_in_opposite_orders_are_found(void)
{
    judge("1 1-9 EXEC | a l1 11 1; a l2 11 2\n"
          "2 1-9 EXEC | a l1 12 2; a l2 12 1\n",
          CIRCLE);
}

static void lists_appended_in_the_same_order_are_good(void)
{
    good("1 1-9 EXEC | a l1 11 2; a l2 11 2\n"
         "2 1-9 EXEC | a l1 12 1; a l2 12 1\n"
         "3 1-9 MGET | l l1 12; l l2 12\n");
}

static void an_append_that_nobody_made_is_found(void)
{
    judge("1 1-2 APPEND | a l1 11 2\n", "more than was done");
    judge("3 1-2 GET | l l1 11\n", NOBODY);
}

static void a_session_is_not_reordered(void)
{
    judge("1 1-20 APPEND | a l1 11 2\n"
          "1 2-20 APPEND | a l1 12 1\n",
          CIRCLE);
}

// ---- counters

static void counters_count_unanswered_increments(void)
{
    good("1 1-2 INCR | i c1 1\n"
         "1 3-? INCR | i c1\n"
         "2 3-9 INCR | i c1 3\n"
         "2 10-11 GET | r c1 3\n");
}

static void a_number_given_twice_is_found(void)
{
    judge("1 1-9 INCR | i c1 1\n"
          "2 1-9 INCR | i c1 1\n",
          "one version, two writers");
}

static void a_number_that_nobody_made_is_found(void)
{
    judge("1 1-2 INCR | i c1 1\n"
          "2 3-4 INCR | i c1 3\n",
          "more than was done");
}

static void a_counter_that_goes_back_is_found(void)
{
    judge("1 1-2 INCR | i c1 1\n"
          "2 3-4 INCR | i c1 2\n"
          "3 5-6 GET | r c1 1\n",
          CIRCLE);
}

// ---- small groups, and WATCH

static void small_keys_come_and_go(void)
{
    good("1 1-9 SETNX | e s1.a 0; w s1.a 5\n"
         "2 1-9 SETNX | e s1.a 1\n"
         "3 2-8 GETDEL | r s1.a 5; w s1.a 0\n"
         "4 2-8 GET | r s1.a 0\n"
         "5 3-? DEL | e s1.b 1; w s1.b 0\n"
         "6 3-? DEL | e s1.b 1; w s1.b 0\n"
         "4 10-11 SET | w s1.b 7\n"
         "4 12-13 GET | r s1.b 0\n");
    good("1 1-? SET | w s1.a 5\n"
         "2 3-4 EXISTS | e s1.a 1\n");
    good("1 1-? EXEC | w s1.a 5; e s1.b 1 1; w s1.b 0; e s1.a 0 1; w s1.a 6\n"
         "2 3-4 GET | r s1.a 5\n");
}

static void an_unanswered_transaction_is_not_done_by_half(void)
{
    judge("1 1-? EXEC | w s1.a 5; e s1.b 0 1; w s1.b 6\n"
          "2 3-4 GET | r s1.a 5\n"
          "2 5-6 GET | r s1.b 0\n",
          NO_ORDER);
}

static void two_winners_are_found(void)
{
    judge("1 1-9 SETNX | e s1.a 0; w s1.a 5\n"
          "2 1-9 SETNX | e s1.a 0; w s1.a 6\n",
          NO_ORDER);
}

static void a_value_deleted_twice_is_found(void)
{
    judge("1 1-2 SET | w s1.a 5\n"
          "1 3-9 DEL | e s1.a 1; w s1.a 0\n"
          "2 3-9 DEL | e s1.a 1; w s1.a 0\n",
          NO_ORDER);
}

static void half_an_exec_over_small_keys_is_found(void)
{
    judge("1 1-2 EXEC | w s1.a 5; i s1.b 1\n"
          "1 3-9 EXEC | w s1.a 0; i s1.b 2\n"
          "2 3-9 EXEC | r s1.a 5; r s1.b 2\n",
          NO_ORDER);
}

static void a_compare_and_set_on_old_news_is_found(void)
{
    judge("1 1-2 SET | w s1.a 5\n"
          "1 3-4 EXEC | r s1.a 5; w s1.a 6\n"
          "2 5-6 EXEC | r s1.a 5; w s1.a 7\n",
          NO_ORDER);
}

static void an_unanswered_delete_happens_once(void)
{
    judge("1 1-2 SET | w s1.a 5\n"
          "3 1-? DEL | e s1.a 1; w s1.a 0\n"
          "1 3-4 GET | r s1.a 0\n"
          "1 5-6 SET | w s1.a 6\n"
          "1 7-8 GET | r s1.a 0\n",
          NO_ORDER);
}

static void a_refused_exec_has_a_reason(void)
{
    good("1 1-2 SET | w r1 5\n"
         "2 3-9 REFUSED | x r1; x r2\n"
         "3 8-20 SET | w r2 6\n");
    good("4 1-? SET | w r1 5\n"
         "2 30-90 REFUSED | x r1\n");
}

static void an_exec_refused_for_nothing_is_found(void)
{
    judge("1 1-2 SET | w r1 5\n"
          "2 3-9 REFUSED | x r1\n"
          "2 4-5 SET | w r1 6\n"
          "3 10-20 SET | w r1 7\n",
          "EXEC refused without a change");
}

// ---- the text

static void a_history_is_read_as_it_was_printed(void)
{
    const char *text = "3 100-180 MSET | w r1 17; w t2 0; r r3 0\n"
                       "4 110-? INCR | i c1; a l1 9; x r1\n"
                       "4 110-120 EXEC | i c1 7; a l1 8 2; l l2 1,2,3; l l3 -; e s1.a 0 2\n"
                       "5 1-2 DISCARD |\n";
    struct history h;
    history_init(&h);
    FILE *from = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    check_equal(history_parse(&h, from), 0);
    fclose(from);
    char *out = NULL;
    size_t size;
    FILE *to = open_memstream(&out, &size);
    history_print(&h, to);
    fclose(to);
    check(strcmp(out, text) == 0);
    free(out);
    history_deinit(&h);
}

static void wrong_lines_are_named(void)
{
    static const char *const wrong[] = { "1 1-2 SET w r1 5\n", "1 5-2 SET | w r1 5\n", "1 1-2 SET | q r1 5\n",
                                         "1 1-2 SET | w r1\n", "1 1-2 SET | w z1 4\n", "1 1-2 GET | l l1 1,x\n" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[100];
        struct history h;
        snprintf(text, sizeof text, "1 1-2 SET | w r1 5\n\n# remark\n%s", wrong[i]);
        FILE *from = fmemopen(text, strlen(text), "r");
        history_init(&h);
        check_equal(history_parse(&h, from), 4);
        fclose(from);
        history_deinit(&h);
    }
}

TESTS(TEST(a_register_read_while_it_is_written_may_hold_either), TEST(a_stale_read_is_found), TEST(a_value_that_comes_back_is_found),
      TEST(a_read_before_the_write_is_found), TEST(a_value_that_was_not_written_is_found), TEST(a_forgotten_write_is_found),
      TEST(a_write_between_another_s_reads_is_found), TEST(an_unanswered_write_may_be_seen_late_or_never),
      TEST(an_unanswered_write_that_comes_and_goes_is_found), TEST(getset_chains_are_followed), TEST(a_lost_update_is_found),
      TEST(a_write_inside_a_chain_is_found), TEST(updates_in_a_ring_are_found), TEST(a_cut_through_two_registers_is_whole),
      TEST(half_a_write_of_two_registers_is_found), TEST(half_a_lost_transaction_is_found), TEST(two_cuts_that_disagree_are_found),
      TEST(two_cuts_that_agree_are_good), TEST(write_skew_is_found), TEST(a_transaction_that_does_not_see_its_write_is_found),
      TEST(a_value_inside_a_transaction_is_found), TEST(what_a_discarded_transaction_wrote_is_found), TEST(a_rename_moves_at_one_moment),
      TEST(a_rename_seen_half_is_found), TEST(a_rename_seen_twice_is_found), TEST(half_a_removal_is_found),
      TEST(a_value_that_vanishes_is_found), TEST(lists_grow_in_one_order), TEST(two_orders_of_a_list_are_found),
      TEST(a_token_twice_is_found), TEST(a_lost_append_is_found), TEST(appends_against_the_clock_are_found),
      TEST(a_transaction_torn_in_a_list_is_found), TEST(lists_appended_in_opposite_orders_are_found),
      TEST(lists_appended_in_the_same_order_are_good), TEST(an_append_that_nobody_made_is_found), TEST(a_session_is_not_reordered),
      TEST(counters_count_unanswered_increments), TEST(a_number_given_twice_is_found), TEST(a_number_that_nobody_made_is_found),
      TEST(a_counter_that_goes_back_is_found), TEST(small_keys_come_and_go), TEST(an_unanswered_transaction_is_not_done_by_half),
      TEST(two_winners_are_found), TEST(a_value_deleted_twice_is_found), TEST(half_an_exec_over_small_keys_is_found),
      TEST(a_compare_and_set_on_old_news_is_found), TEST(an_unanswered_delete_happens_once), TEST(a_refused_exec_has_a_reason),
      TEST(an_exec_refused_for_nothing_is_found), TEST(a_history_is_read_as_it_was_printed), TEST(wrong_lines_are_named))
