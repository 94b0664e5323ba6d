// SPDX-License-Identifier: Apache-2.0
#include "engine/command/command.h"

#include "base/test.h"

static const struct command *find(const char *name, const char *sub)
{
    struct slice argv[2] = { slice_cstr(name), slice_cstr(sub) };
    return command_find(argv, sub[0] != '\0' ? 2 : 1);
}

static void every_line_is_found_by_its_name_in_any_case(void)
{
    for (uint32_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        char upper[COMMAND_NAME_MAX + 1];
        size_t len = strlen(c->name);
        for (size_t k = 0; k <= len; k++)
            upper[k] = (char)(c->name[k] >= 'a' && c->name[k] <= 'z' ? c->name[k] & ~0x20 : c->name[k]);
        check(command_find_name(slice_cstr(c->name)) == c);
        check(command_find_name(slice_cstr(upper)) == c);
        check(command_index(c) == i);
    }
}

static void subcommands_are_found_below_their_container_only(void)
{
    check(find("client", "LIST") == command_find_name(slice_cstr("client|list")));
    check(find("CLIENT", "no-evict") == command_find_name(slice_cstr("client|no-evict")));
    check(find("client", "nonesuch") == command_find_name(slice_cstr("client")));
    check(find("client", "") == command_find_name(slice_cstr("client")));
    check(find("list", "") == NULL);
    check(find("client|list", "") == NULL);
    check(command_find_name(slice_cstr("client|nonesuch")) == NULL);
    check(command_find_name(slice_cstr("client|")) == NULL);
    check(command_find_name(slice_cstr("|")) == NULL);
}

static void what_is_nearly_a_name_is_not_found(void)
{
    static const char *const wrong[] = { "",     "g",           "ge",       "gett",         "g\r",         "get ",
                                         " get", "bitfield-ro", "mset\x01", "incrbyfloatx", "setr\x01nge", "\x07\x65\x74" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        check(find(wrong[i], "") == NULL);
    check(command_find_name(slice_of("get\0", 4)) == NULL);
    uint8_t large[300];
    memset(large, 'g', sizeof large);
    for (size_t len = 0; len < sizeof large; len++)
        check(command_find_name(slice_of(large, len)) == NULL);
    // Bytes that differ from a letter in the bit of its case only.
    for (int flip = 0x20; flip <= 0x80; flip *= 2)
        for (size_t at = 0; at < 3; at++) {
            uint8_t name[3] = { '_', '@', '[' };
            name[at] ^= (uint8_t)flip;
            check(command_find_name(slice_of(name, 3)) == NULL);
        }
}

static void arity_is_exact_or_a_minimum(void)
{
    const struct command *get = find("get", ""), *mget = find("mget", "");
    check(command_arity_ok(get, 2) && !command_arity_ok(get, 1) && !command_arity_ok(get, 3));
    check(command_arity_ok(mget, 2) && command_arity_ok(mget, 99) && !command_arity_ok(mget, 1));
}

static bool keys_of(const char *name, uint32_t argc, uint32_t first, uint32_t last, uint32_t step)
{
    struct command_keys k;
    if (!command_keys(command_find_name(slice_cstr(name)), NULL, argc, &k))
        return first == 0;
    return k.first == first && k.last == last && k.step == step;
}

static void keys_stand_where_the_table_says(void)
{
    check(keys_of("get", 2, 1, 1, 1));
    check(keys_of("mget", 5, 1, 4, 1));
    check(keys_of("mset", 5, 1, 3, 2));
    check(keys_of("mset", 4, 0, 0, 0));
    check(keys_of("bitop", 5, 2, 4, 1));
    check(keys_of("rename", 3, 1, 2, 1));
    check(keys_of("copy", 5, 1, 2, 1));
    check(keys_of("object|encoding", 3, 2, 2, 1));
    check(keys_of("ping", 2, 0, 0, 0));
    check(keys_of("get", 1, 0, 0, 0));
}

static void every_line_is_consistent(void)
{
    for (uint32_t i = 0; i < command_count(); i++) {
        const struct command *c = command_at(i);
        check((c->key_first == 0) == (c->key_access[0] == '\0'));
        check((c->key_first == 0) == (c->key_step == 0));
        check(!((c->flags & CMD_WRITE) && (c->flags & CMD_READONLY)));
        check((c->flags & CMD_DENYOOM) == 0 || (c->flags & CMD_WRITE));
        check((c->flags & CMD_LOCAL) == 0 || c->spread == SPREAD_NONE);
        check((c->flags & CMD_LOCAL) == 0 || c->key_first == 0);
        check(c->run != NULL && c->summary[0] != '\0' && c->since[0] != '\0' && c->group[0] != '\0');
        if (c->flags & CMD_SUBCOMMAND) {
            const struct command *container = command_at(c->id_container - 1u);
            size_t len = strlen(container->name);
            check(memcmp(c->name, container->name, len) == 0 && c->name[len] == '|');
        }
    }
}

static void a_cursor_names_its_shard(void)
{
    struct route route;
    route_init(&route, 8, ROUTE_FULL_KEY);
    static const struct {
        const char *cursor;
        uint32_t shard;
    } cases[] = { { "0", 0 },
                  { "17", 0 },
                  { "281474976710656", 1 },
                  { "1970324836974592", 7 },
                  { "2251799813685248", 0 },
                  { "18446744073709551615", 0 },
                  { "x", 0 },
                  { "", 0 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slice argv[2] = { slice_cstr("scan"), slice_cstr(cases[i].cursor) };
        check_equal(command_cursor_shard(command_find(argv, 2), argv, 2, &route), cases[i].shard);
    }
}

TESTS(TEST(every_line_is_found_by_its_name_in_any_case), TEST(subcommands_are_found_below_their_container_only),
      TEST(what_is_nearly_a_name_is_not_found), TEST(arity_is_exact_or_a_minimum), TEST(keys_stand_where_the_table_says),
      TEST(every_line_is_consistent), TEST(a_cursor_names_its_shard))
