// SPDX-License-Identifier: Apache-2.0
#include "reactor/feature_names.h"

#include <errno.h>
#include <string.h>

#include "base/test.h"
#include "reactor/reactor.h"

static const char ALL_NAMES[] = "multishot-accept multishot-recv provided-buffers registered-ring defer-taskrun coop-taskrun batching";

static uint32_t bits(const char *names)
{
    struct slice unknown;
    uint32_t out = 0;
    check_equal(feature_names_parse(slice_cstr(names), &out, &unknown), 0);
    return out;
}

static void names_become_bits_and_bits_become_names(void)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    uint32_t unnamed = REACTOR_FIXED_BUFFERS | REACTOR_ZEROCOPY_SEND; // who asks for them op by op has them
    check_equal(bits(ALL_NAMES), REACTOR_FEATURES_ALL & ~unnamed);
    feature_names_text(REACTOR_FEATURES_ALL, &text);
    check_equal(text.len, sizeof ALL_NAMES - 1);
    check(memcmp(text.data, ALL_NAMES, text.len) == 0);
    buf_deinit(&text);
}

static void spaces_and_commas_separate_and_nothing_is_nothing(void)
{
    check_equal(bits(""), 0);
    check_equal(bits(" ,, "), 0);
    check_equal(bits("batching,defer-taskrun"), REACTOR_BATCHED_ENTER | REACTOR_DEFER_TASKRUN);
    check_equal(bits("  batching   batching "), REACTOR_BATCHED_ENTER);
}

static void an_unknown_name_is_shown(void)
{
    static const char *const WRONG[] = { "x", "batching,x", "batchin", "batchings", "fixed-buffers", "batching;x" };
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        struct slice unknown = { 0 };
        uint32_t out;
        check_equal(feature_names_parse(slice_cstr(WRONG[i]), &out, &unknown), -EINVAL);
        check(unknown.len > 0 && unknown.len <= strlen(WRONG[i]));
    }
}

TESTS(TEST(names_become_bits_and_bits_become_names), TEST(spaces_and_commas_separate_and_nothing_is_nothing),
      TEST(an_unknown_name_is_shown))
