// SPDX-License-Identifier: Apache-2.0
#include "engine/command/glob.h"

#include <stdlib.h>

#include "base/test.h"

static bool matches(const char *pattern, const char *text)
{
    return glob_match(slice_cstr(pattern), slice_cstr(text), false);
}

static void items_match_as_in_redis(void)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } cases[] = {
        { "*", "abc", true },
        { "a*", "abc", true },
        { "*c", "abc", true },
        { "a*c", "abbbc", true },
        { "a*d", "abc", false },
        { "a?c", "abc", true },
        { "a?c", "ac", false },
        { "[abc]", "b", true },
        { "[abc]", "d", false },
        { "[^abc]", "d", true },
        { "[^abc]", "a", false },
        { "[a-c]x", "bx", true },
        { "[c-a]x", "bx", true },
        { "[a-c]x", "dx", false },
        { "\\*", "*", true },
        { "\\*", "a", false },
        { "[\\]]", "]", true },
        { "[\\-]", "-", true },
        { "a\\", "a\\", true },
        { "", "", true },
        { "", "a", false },
        { "**", "", false },
        { "a**", "a", true },
        { "[", "a", false },
        { "[^", "a", true },
        { "[ab", "a", true },
        { "[ab", "c", false },
        { "[a-", "a", true },
        { "[a-", "-", true },
        { "h[ae]llo", "hello", true },
        { "*a*b*c", "xxaxxbxxc", true },
        { "*a*b*c", "xxaxxcxxb", false },
        { "a]", "a]", true },
        { "[z-a]", "m", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(matches(cases[i].pattern, cases[i].text) == cases[i].match);
        if (matches(cases[i].pattern, cases[i].text) != cases[i].match)
            printf("  %s against %s\n", cases[i].pattern, cases[i].text);
    }
}

static void case_is_folded_only_when_asked(void)
{
    check(!matches("GET", "get"));
    check(glob_match(slice_cstr("G[A-F]T"), slice_cstr("get"), true));
    check(glob_match(slice_cstr("max*"), slice_cstr("MAXMEMORY"), true));
}

static void many_stars_cost_no_more_than_the_budget(void)
{
    size_t len = 1 << 20;
    uint8_t *pattern = malloc(len), *text = malloc(len);
    for (size_t i = 0; i < len; i++)
        pattern[i] = i % 2 == 0 ? 'a' : '*';
    memset(text, 'a', len);
    pattern[len - 1] = 'b';
    check(!glob_match(slice_of(pattern, len), slice_of(text, len), false));
    memset(pattern, '*', len);
    check(glob_match(slice_of(pattern, len), slice_of(text, len), false));
    // A class that never closes, tried at every byte.
    memset(pattern, 'x', len);
    pattern[0] = '*';
    pattern[1] = '[';
    check(!glob_match(slice_of(pattern, len), slice_of(text, len), false));
    free(pattern);
    free(text);
}

TESTS(TEST(items_match_as_in_redis), TEST(case_is_folded_only_when_asked), TEST(many_stars_cost_no_more_than_the_budget))
