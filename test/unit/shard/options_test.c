// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/options.h"

#include <errno.h>
#include <stdlib.h>

#include "base/test.h"

static char error[OPTIONS_ERROR_MAX];

static int set(struct options *o, const char *name, const char *value)
{
    error[0] = '\0';
    return option_set_text(o, option_find(slice_cstr(name)), slice_cstr(value), error);
}

static bool shows(const struct options *o, const char *name, const char *want)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    option_get(o, option_find(slice_cstr(name)), &text);
    bool same = slice_equal(buf_view(&text), slice_cstr(want));
    if (!same)
        printf("%s is '%.*s', not '%s'\n", name, (int)text.len, (const char *)text.data, want);
    buf_deinit(&text);
    return same;
}

static int load(struct options *o, const char *text)
{
    error[0] = '\0';
    return options_load(o, "a.conf", slice_cstr(text), error);
}

static int load_flags(struct options *o, int count, char *const *flags)
{
    error[0] = '\0';
    return options_load_flags(o, count, flags, error);
}

static void a_default_is_what_its_line_says(void)
{
    struct options o;
    options_init(&o);
    check_equal(o.port, 6380);
    check_equal(o.databases, 16);
    check_equal(o.maxclients, 10000);
    check_equal(o.proto_max_bulk_len, 512 * 1024 * 1024);
    check_equal(o.client_output_buffer_limit[OUTPUT_PUBSUB].soft_seconds, 60);
    check(strcmp(o.bind, "127.0.0.1") == 0);
    check(o.requirepass != NULL && o.requirepass[0] == '\0');
    check_equal(options_check(&o, error), 0);
    options_deinit(&o);
}

static void every_value_is_read_back_as_it_is_shown(void)
{
    struct options o, copy;
    options_init(&o);
    options_copy(&copy, &o);
    for (uint32_t i = 0; i < options_count(); i++) {
        struct buf text;
        buf_init(&text, BUF_NO_LIMIT);
        option_get(&o, option_at(i), &text);
        check_equal(option_at(i)->least == 1 && text.len == 0 ? 0 : option_set_text(&copy, option_at(i), buf_view(&text), error), 0);
        check(option_equal(&o, &copy, option_at(i)));
        buf_deinit(&text);
    }
    options_deinit(&o);
    options_deinit(&copy);
}

static void sizes_have_units_of_1000_and_of_1024(void)
{
    struct options o;
    options_init(&o);
    static const struct {
        const char *text;
        uint64_t bytes;
    } SIZES[] = { { "0", 0 },         { "123", 123 },       { "5b", 5 },
                  { "1k", 1000 },     { "1kb", 1024 },      { "2m", 2000000 },
                  { "2MB", 2 << 20 }, { "1g", 1000000000 }, { "3Gb", UINT64_C(3) << 30 } };
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        check_equal(set(&o, "maxmemory", SIZES[i].text), 0);
        check_equal(o.maxmemory, SIZES[i].bytes);
    }
    static const char *const WRONG[] = { "", "-1", "abc", "1x", "1 kb", "kb", "99999999999999999999", "18446744073709551615kb", "1.5gb" };
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        check_equal(set(&o, "maxmemory", WRONG[i]), -EINVAL);
        check(strcmp(error, "argument must be a memory value") == 0);
    }
    check_equal(set(&o, "maxmemory", "9223372036854775808"), -EINVAL);
    check_equal(o.maxmemory, UINT64_C(3) << 30);
    options_deinit(&o);
}

static void wrong_values_are_refused_in_redis_words(void)
{
    static const struct {
        const char *name, *value, *reason;
    } CASES[] = {
        { "maxclients", "many", "argument couldn't be parsed into an integer" },
        { "maxclients", "0", "argument must be between 1 and 1000000 inclusive" },
        { "port", "65536", "argument must be between 0 and 65535 inclusive" },
        { "port", "-1", "argument must be between 0 and 65535 inclusive" },
        { "port", "99999999999999999999", "argument couldn't be parsed into an integer" },
        { "numa", "maybe", "argument must be 'yes' or 'no'" },
        { "unixsocketperm", "888", "argument couldn't be parsed as an octal number" },
        { "unixsocketperm", "1000", "argument must be between 0 and 777 inclusive" },
        { "io", "iocp", "argument(s) must be one of the following: auto, uring, epoll" },
        { "client-output-buffer-limit", "normal 1 2", "Wrong number of arguments in buffer limit configuration." },
        { "client-output-buffer-limit", "other 1 2 3", "Invalid client class specified in buffer limit configuration." },
        { "client-output-buffer-limit", "normal 1 x 3", "Error in hard, soft or soft_seconds setting in buffer limit configuration." },
        { "dir", "", "argument may not be empty" },
        { "bind", "'127.0.0.1", "unbalanced quotes" },
    };
    struct options o;
    options_init(&o);
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        check_equal(set(&o, CASES[i].name, CASES[i].value), -EINVAL);
        check(strcmp(error, CASES[i].reason) == 0);
    }
    options_deinit(&o);
}

static void a_file_is_read_line_by_line(void)
{
    struct options o;
    options_init(&o);
    check_equal(load(&o, "# comment\n\n  port 7000  \r\nBIND 127.0.0.1 ::1\nrequirepass \"a \\x41\\n\\\"b\"\nlogfile 'it\\'s'\n"
                         "client-output-buffer-limit normal 1mb 0 0\nclient-output-buffer-limit replica 5 4 3\nunixsocketperm 700"),
                0);
    check_equal(o.port, 7000);
    check(strcmp(o.bind, "127.0.0.1 ::1") == 0);
    check(strcmp(o.requirepass, "a A\n\"b") == 0);
    check(strcmp(o.logfile, "it's") == 0);
    check_equal(o.client_output_buffer_limit[OUTPUT_NORMAL].hard, 1 << 20);
    check_equal(o.client_output_buffer_limit[OUTPUT_REPLICA].soft, 4);
    check_equal(o.unixsocketperm, 0700);
    options_deinit(&o);
}

static void a_bad_line_is_named_with_file_line_and_reason(void)
{
    static const struct {
        const char *text, *error;
    } CASES[] = {
        { "port 1\nprot 2\n", "a.conf:2: prot: no such option" },
        { "\n\nport x", "a.conf:3: port: argument couldn't be parsed into an integer" },
        { "port 1 2", "a.conf:1: port: wrong number of arguments" },
        { "port", "a.conf:1: port: wrong number of arguments" },
        { "requirepass \"abc", "a.conf:1: unbalanced quotes" },
        { "requirepass \"abc\"def", "a.conf:1: unbalanced quotes" },
        { "requirepass \"a\\x00b\"", "a.conf:1: requirepass: argument may not hold a NUL byte" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct options o;
        options_init(&o);
        check_equal(load(&o, CASES[i].text), -EINVAL);
        check(strcmp(error, CASES[i].error) == 0);
        options_deinit(&o);
    }
}

static void long_lines_are_refused_and_not_cut(void)
{
    struct options o;
    options_init(&o);
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    buf_append(&text, "bind", 4);
    for (int i = 0; i < 1000; i++)
        buf_append(&text, " 127.0.0.1", 10);
    check_equal(options_load(&o, "a.conf", buf_view(&text), error), -EINVAL);
    check(strcmp(error, "a.conf:1: too many words") == 0);
    buf_deinit(&text);
    options_deinit(&o);
}

static void flags_take_a_value_behind_a_space_or_an_equals_sign(void)
{
    struct options o;
    options_init(&o);
    char *flags[] = { (char[]){ "--port" }, (char[]){ "7001" },          (char[]){ "--spin-us" }, (char[]){ "-1" },
                      (char[]){ "--bind" }, (char[]){ "127.0.0.1" },     (char[]){ "-::1" },      (char[]){ "--io=epoll" },
                      (char[]){ "--numa" }, (char[]){ "--requirepass=" } };
    check_equal(load_flags(&o, 10, flags), 0);
    check_equal(o.port, 7001);
    check_equal(o.spin_us, -1);
    check(strcmp(o.bind, "127.0.0.1 -::1") == 0);
    check_equal(o.io, 2);
    check(o.numa);
    options_deinit(&o);
}

static void a_wrong_flag_is_named(void)
{
    static const struct {
        const char *flags[2];
        int count;
        const char *error;
    } CASES[] = {
        { { "--nonsense", "1" }, 2, "--nonsense: no such option" },
        { { "port", "1" }, 2, "port: not a flag (flags are --name value)" },
        { { "--port" }, 1, "--port: wrong number of arguments" },
        { { "--port=x" }, 1, "--port=x: argument couldn't be parsed into an integer" },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct options o;
        options_init(&o);
        char first[32], second[32];
        snprintf(first, sizeof first, "%s", CASES[i].flags[0]);
        snprintf(second, sizeof second, "%s", CASES[i].count > 1 ? CASES[i].flags[1] : "");
        check_equal(load_flags(&o, CASES[i].count, (char *[]){ first, second }), -EINVAL);
        check(strcmp(error, CASES[i].error) == 0);
        options_deinit(&o);
    }
}

static int set_pairs(struct options *o, uint32_t count, const char *const *words)
{
    struct slice pairs[8];
    for (uint32_t i = 0; i < count; i++)
        pairs[i] = slice_cstr(words[i]);
    error[0] = '\0';
    return options_set_pairs(o, pairs, count, error);
}

static void config_set_changes_all_or_nothing(void)
{
    struct options o;
    options_init(&o);
    check_equal(set_pairs(&o, 4, (const char *[]){ "hz", "20", "maxclients", "none" }), -EINVAL);
    check(strcmp(error, "CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer") ==
          0);
    check_equal(o.hz, 10);
    check_equal(set_pairs(&o, 4, (const char *[]){ "hz", "20", "MaxClients", "5" }), 0);
    check_equal(o.hz, 20);
    check_equal(o.maxclients, 5);
    check_equal(set_pairs(&o, 4, (const char *[]){ "hz", "20", "HZ", "30" }), -EINVAL);
    check(strcmp(error, "CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter") == 0);
    check_equal(set_pairs(&o, 2, (const char *[]){ "port", "1" }), -EINVAL);
    check(strcmp(error, "CONFIG SET failed (possibly related to argument 'port') - can't set immutable config") == 0);
    check_equal(set_pairs(&o, 4, (const char *[]){ "hz", "30", "nothing", "1" }), -EINVAL);
    check(strcmp(error, "Unknown option or number of arguments for CONFIG SET - 'nothing'") == 0);
    check_equal(o.hz, 20);
    options_deinit(&o);
}

static void shards_are_a_power_of_two_and_enough(void)
{
    struct options o;
    options_init(&o);
    check_equal(set(&o, "shards", "6"), 0);
    check_equal(options_check(&o, error), -EINVAL);
    check_equal(set(&o, "shards", "4"), 0);
    check_equal(set(&o, "workers", "5"), 0);
    check_equal(options_check(&o, error), -EINVAL);
    check_equal(set(&o, "workers", "4"), 0);
    check_equal(options_check(&o, error), 0);
    options_deinit(&o);
}

static void features_are_switched_off_by_name_and_only_where_they_are(void)
{
    struct options o;
    options_init(&o);
    check_equal(set(&o, "io-without", "batching multishot-recv"), 0);
    check_equal(options_check(&o, error), 0);
    check_equal(set(&o, "io", "epoll"), 0);
    check_equal(options_check(&o, error), -EINVAL);
    check(strcmp(error, "io-without: epoll has none of these features") == 0);
    check_equal(set(&o, "io", "uring"), 0);
    check_equal(set(&o, "io-without", "batching sleeping"), 0);
    check_equal(options_check(&o, error), -EINVAL);
    check(strcmp(error, "io-without: io_uring has no feature 'sleeping' that could be switched off") == 0);
    options_deinit(&o);
}

static void strangers_need_a_password(void)
{
    static const struct {
        const char *bind;
        bool exposed;
    } CASES[] = { { "127.0.0.1", false }, { "127.0.0.1 -::1", false }, { "127.9.9.9", false }, { "*", true }, { "0.0.0.0", true },
                  { "::", true },         { "127.0.0.1 ::*", true },   { "-10.0.0.1", true },  { "", false } };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct options o;
        options_init(&o);
        check_equal(set(&o, "bind", CASES[i].bind), 0);
        check_equal(options_check(&o, error), CASES[i].exposed ? -EINVAL : 0);
        check_equal(set(&o, "requirepass", "secret"), 0);
        check_equal(options_check(&o, error), 0);
        check_equal(set_pairs(&o, 2, (const char *[]){ "requirepass", "" }), CASES[i].exposed ? -EINVAL : 0);
        check_equal(set(&o, "requirepass", ""), 0);
        check_equal(set(&o, "protected-mode", "no"), 0);
        check_equal(options_check(&o, error), 0);
        options_deinit(&o);
    }
}

static void names_match_globs_in_any_case(void)
{
    static const struct {
        const char *pattern;
        bool matches;
    } CASES[] = { { "*", true },          { "maxmemory-policy", true },
                  { "MAX*", true },       { "max*policy", true },
                  { "maxmemory", false }, { "m?xmemory*", true },
                  { "[a-m]ax*", true },   { "[^a-m]ax*", false },
                  { "*-*", true },        { "", false },
                  { "*[", false },        { "max\\memory-*", true },
                  { "**y", true },        { "*policy?", false },
                  { "[", false },         { "*a*b*c*d*e*f*", false } };
    const struct option *option = option_find(slice_cstr("maxmemory-policy"));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        check_equal(option_matches(option, slice_cstr(CASES[i].pattern)), CASES[i].matches);
}

static char *rewrite(const struct options *o, const char *old)
{
    struct buf text;
    buf_init(&text, BUF_NO_LIMIT);
    options_rewrite(o, slice_cstr(old), &text);
    char *copy = strndup((const char *)text.data, text.len);
    buf_deinit(&text);
    return copy;
}

static void check_rewrite(const struct options *o, const char *old, const char *want)
{
    char *text = rewrite(o, old);
    check(strcmp(text, want) == 0);
    if (strcmp(text, want) != 0)
        printf("rewritten as <<%s>>\n", text);
    free(text);
}

static void words_of_spaces_are_rewritten_in_quotes(void)
{
    static const char *const SAVES[] = { "save '' ''\n",  "save \" 1 2\"\n",        "save 1  2\n",           "save \"1 2 \"\n",
                                         "save '1  2'\n", "save 3 4\n\rsave 1 2\n", "save 3 4\n'save' 1 2\n" };
    for (size_t i = 0; i < sizeof SAVES / sizeof SAVES[0]; i++) {
        struct options o, again;
        options_init(&o);
        options_init(&again);
        check_equal(load(&o, SAVES[i]), 0);
        char *text = rewrite(&o, SAVES[i]);
        check_equal(load(&again, text), 0);
        check(option_equal(&o, &again, option_find(slice_cstr("save"))));
        free(text);
        options_deinit(&again);
        options_deinit(&o);
    }
}

static void a_rewrite_keeps_comments_order_and_true_lines(void)
{
    static const char OLD[] = "# mine\nmaxmemory 64mb\n\nhz 10\n# tail\n";
    struct options o;
    options_init(&o);
    check_equal(load(&o, OLD), 0);
    check_rewrite(&o, OLD, OLD);
    check_equal(set(&o, "hz", "50"), 0);
    check_rewrite(&o, OLD, "# mine\nmaxmemory 64mb\n\nhz 50\n# tail\n");
    check_equal(set(&o, "requirepass", "two words \"x\""), 0);
    check_rewrite(&o, OLD, "# mine\nmaxmemory 64mb\n\nhz 50\n# tail\n# Generated by CONFIG REWRITE\nrequirepass \"two words \\\"x\\\"\"\n");
    options_deinit(&o);
}

static void a_rewrite_leaves_one_line_per_option(void)
{
    static const char OLD[] = "hz 20\nhz 30\nclient-output-buffer-limit normal 5 0 0\nclient-output-buffer-limit pubsub 6 0 0";
    struct options o;
    options_init(&o);
    check_equal(load(&o, OLD), 0);
    check_rewrite(&o, OLD, "hz 30\nclient-output-buffer-limit normal 5 0 0 slave 268435456 67108864 60 pubsub 6 0 0\n");
    options_deinit(&o);
}

static void what_was_rewritten_is_read_back_the_same(void)
{
    struct options o, again;
    options_init(&o);
    options_init(&again);
    check_equal(set(&o, "requirepass", "#\x01 \xff'\"\\"), 0);
    check_equal(set(&o, "bind", "127.0.0.1 -::1"), 0);
    check_equal(set(&o, "unixsocketperm", "770"), 0);
    check_equal(set(&o, "spin-us", "-1"), 0);
    check_equal(set(&o, "maxmemory-policy", "volatile-ttl"), 0);
    char *text = rewrite(&o, "");
    check_equal(load(&again, text), 0);
    for (uint32_t i = 0; i < options_count(); i++)
        check(option_equal(&o, &again, option_at(i)));
    char *twice = rewrite(&again, text);
    check(strcmp(text, twice) == 0);
    free(text);
    free(twice);
    options_deinit(&o);
    options_deinit(&again);
}

static void an_octal_number_is_shown_in_octal(void)
{
    struct options o;
    options_init(&o);
    check_equal(set(&o, "unixsocketperm", "0700"), 0);
    check(shows(&o, "unixsocketperm", "700"));
    check(shows(&o, "client-output-buffer-limit", "normal 1073741824 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"));
    options_deinit(&o);
}

static void every_option_is_documented(void)
{
    struct buf page, sample;
    buf_init(&page, BUF_NO_LIMIT);
    buf_init(&sample, BUF_NO_LIMIT);
    options_markdown(&page);
    options_sample(&sample);
    for (uint32_t i = 0; i < options_count(); i++) {
        const char *name = option_at(i)->name;
        check(memmem(page.data, page.len, name, strlen(name)) != NULL);
        check(memmem(sample.data, sample.len, name, strlen(name)) != NULL);
        check(strlen(option_at(i)->help) > 20);
    }
    buf_deinit(&page);
    buf_deinit(&sample);
}

static void the_sample_is_a_configuration(void)
{
    struct buf sample;
    struct options o, initial;
    buf_init(&sample, BUF_NO_LIMIT);
    options_init(&o);
    options_init(&initial);
    options_sample(&sample);
    for (size_t i = 0; i + 2 < sample.len; i++) // uncomment what is an option's line: "# name value"
        if (sample.data[i] == '\n' && sample.data[i + 1] == '#' && sample.data[i + 2] == ' ') {
            size_t name = 0;
            while (i + 3 + name < sample.len && sample.data[i + 3 + name] > ' ')
                name++;
            const struct option *option = option_find(slice_of(sample.data + i + 3, name));
            if (option != NULL && memcmp(option->name, sample.data + i + 3, name) == 0) // prose begins with a capital
                sample.data[i + 1] = ' ';
        }
    check_equal(options_load(&o, "sample", buf_view(&sample), error), 0);
    for (uint32_t i = 0; i < options_count(); i++)
        check(option_equal(&o, &initial, option_at(i)));
    buf_deinit(&sample);
    options_deinit(&o);
    options_deinit(&initial);
}

TESTS(TEST(a_default_is_what_its_line_says), TEST(every_value_is_read_back_as_it_is_shown), TEST(sizes_have_units_of_1000_and_of_1024),
      TEST(wrong_values_are_refused_in_redis_words), TEST(a_file_is_read_line_by_line), TEST(a_bad_line_is_named_with_file_line_and_reason),
      TEST(long_lines_are_refused_and_not_cut), TEST(flags_take_a_value_behind_a_space_or_an_equals_sign), TEST(a_wrong_flag_is_named),
      TEST(config_set_changes_all_or_nothing), TEST(shards_are_a_power_of_two_and_enough),
      TEST(features_are_switched_off_by_name_and_only_where_they_are), TEST(strangers_need_a_password), TEST(names_match_globs_in_any_case),
      TEST(words_of_spaces_are_rewritten_in_quotes), TEST(a_rewrite_keeps_comments_order_and_true_lines),
      TEST(a_rewrite_leaves_one_line_per_option), TEST(what_was_rewritten_is_read_back_the_same), TEST(an_octal_number_is_shown_in_octal),
      TEST(every_option_is_documented), TEST(the_sample_is_a_configuration))
