// SPDX-License-Identifier: Apache-2.0
#include "bench/workload.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "base/test.h"

static struct workload w;
static struct options o;

static void options_from(const char *first, ...)
{
    char *argv[32] = { (char *)(uintptr_t) "skerry-bench" };
    char error[256] = "";
    int argc = 1;
    __builtin_va_list list;
    __builtin_va_start(list, first);
    for (const char *a = first; a != NULL; a = __builtin_va_arg(list, const char *))
        argv[argc++] = (char *)(uintptr_t)a;
    __builtin_va_end(list);
    check_equal(options_parse(&o, argc, argv, error, sizeof error), 0);
}

static void a_request_is_what_its_template_says(void)
{
    uint8_t out[256];
    struct request_source s;
    struct request r;
    options_from("--mix", "get", "--keys", "1000000", "--key-size", "16", NULL);
    check_equal(workload_init(&w, &o, false), 0);
    request_source_init(&s, &w, 1);
    s.in_order = true;
    s.next_key = 12345;
    uint64_t len = workload_write(&s, out, &r);
    check(slice_equal(slice_of(out, len), slice_cstr("*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n")));
    check_equal(r.key, 12345);
    workload_deinit(&w);
}

static void many_keys_follow_each_other_and_wrap(void)
{
    uint8_t out[256];
    struct request_source s;
    struct request r;
    options_from("--mix", "mget", "--batch", "2", "--keys", "10", "--key-size", "2", NULL);
    check_equal(workload_init(&w, &o, false), 0);
    request_source_init(&s, &w, 1);
    s.in_order = true;
    s.next_key = 9;
    uint64_t len = workload_write(&s, out, &r);
    check(slice_equal(slice_of(out, len), slice_cstr("*3\r\n$4\r\nMGET\r\n$2\r\nk9\r\n$2\r\nk0\r\n")));
    workload_deinit(&w);
}

static void a_value_is_its_keys_and_nobody_elses(void)
{
    struct request_source s;
    struct request r;
    options_from("--mix", "set", "--keys", "1000", "--value-size", "20000", NULL);
    check_equal(workload_init(&w, &o, false), 0);
    request_source_init(&s, &w, 1);
    uint8_t *out = malloc(w.len_max + WORKLOAD_SLACK);
    uint64_t len = workload_write(&s, out, &r);
    const uint8_t *value = out + len - 2 - 20000;
    check(workload_value_matches(&w, r.key, 0, value, 20000));
    for (uint64_t cut = 1; cut < 20000; cut += 37) {
        check(workload_value_matches(&w, r.key, 0, value, cut));
        check(workload_value_matches(&w, r.key, cut, value + cut, 20000 - cut));
    }
    for (uint64_t key = 0; key < 1000; key++)
        check(key == r.key || !workload_value_matches(&w, key, 0, value, 8));
    out[len - 3] ^= 1;
    check(!workload_value_matches(&w, r.key, 0, value, 20000));
    free(out);
    workload_deinit(&w);
}

static void the_mix_has_its_weights(void)
{
    uint32_t gets = 0;
    options_from("--mix", "get:80,set:20", "--value-size", "1:1,2:3", NULL);
    check_equal(workload_init(&w, &o, false), 0);
    for (int i = 0; i < WORKLOAD_CHOICES; i++)
        gets += w.templates[w.choices[i]].kind == OP_GET;
    check(gets > 815 && gets < 823);
    check_equal(w.template_count, 3);
    workload_deinit(&w);
}

static void every_key_is_drawn_and_none_beyond(void)
{
    uint8_t out[256];
    uint32_t seen[101] = { 0 };
    const char *distributions[] = { "uniform", "zipf:0.5" };
    for (int d = 0; d < 2; d++) {
        struct request_source s;
        struct request r;
        options_from("--mix", "get", "--keys", "100", "--distribution", distributions[d], NULL);
        check_equal(workload_init(&w, &o, false), 0);
        request_source_init(&s, &w, 1);
        memset(seen, 0, sizeof seen);
        for (int i = 0; i < 20000; i++) {
            workload_write(&s, out, &r);
            seen[r.key < 100 ? r.key : 100]++;
        }
        for (int i = 0; i < 100; i++)
            check(seen[i] > 0);
        check_equal(seen[100], 0);
        workload_deinit(&w);
    }
}

static int parse(const char *name, const char *value)
{
    char *argv[] = { (char *)(uintptr_t) "skerry-bench", (char *)(uintptr_t)name, (char *)(uintptr_t)value };
    char error[256] = "";
    int rc = options_parse(&o, value == NULL ? 2 : 3, argv, error, sizeof error);
    check(rc == 0 || error[0] != '\0');
    return rc;
}

static void bad_options_are_refused_with_a_reason(void)
{
    static const char *const bad[][2] = {
        { "--nonsense", NULL },    { "--port", NULL },
        { "--port", "0" },         { "--port", "65536" },
        { "--port", "12x" },       { "--connections", "0" },
        { "--connections", "-1" }, { "--threads", "51" },
        { "--mix", "" },           { "--mix", "gte" },
        { "--mix", "get:0" },      { "--mix", "get:x" },
        { "--mix", "echo,get" },   { "--value-size", "" },
        { "--value-size", "1k" },  { "--value-size", "1:0" },
        { "--cpu", "" },           { "--cpu", "1-" },
        { "--cpu", "3-1" },        { "--cpu", "1,,2" },
        { "--cpu", "5000" },       { "--distribution", "zipf" },
        { "--protocol", "resp4" }, { "--distribution", "zipf:1" },
        { "--rate", "nan" },       { "--duration", "-1" },
        { "--duration", "0" },     { "--key-size", "6" },
        { "--requests", "1e6" },   { "--rate", "0" },
        { "extra", NULL },         { "--server-pid", "0" },
        { "--direct", NULL },      { "--protocol", "FCNP" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i][0], bad[i][1]) == 0)
            printf("accepted %s %s\n", bad[i][0], bad[i][1]);
        check(parse(bad[i][0], bad[i][1]) < 0);
    }
    check_equal(parse("--cpu", "0,2-4"), 0);
    check_equal(o.cpu_count, 4);
}

TESTS(TEST(a_request_is_what_its_template_says), TEST(many_keys_follow_each_other_and_wrap), TEST(a_value_is_its_keys_and_nobody_elses),
      TEST(the_mix_has_its_weights), TEST(every_key_is_drawn_and_none_beyond), TEST(bad_options_are_refused_with_a_reason))
