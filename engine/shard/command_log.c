// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/command_log.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/shard/client.h"
#include "engine/shard/options.h"

#define WORDS_MAX 32 // as Redis
#define WORD_MAX  128

// ---- what is nobody's business

command_fn cmd_auth, cmd_hello, cmd_config_set;

static bool hello_hides(const struct slice *argv, uint32_t argc, uint32_t arg)
{
    for (uint32_t i = 2; i < argc; i++)
        if (slice_is(argv[i], "auth"))
            return arg == i + 1 || arg == i + 2;
    return false;
}

static bool option_is_secret(struct slice name)
{
    const struct option *o = option_find(name);
    return o != NULL && (o->flags & OPTION_SECRET) != 0;
}

bool command_hides(const struct command *command, const struct slice *argv, uint32_t argc, uint32_t arg)
{
    if (likely(command->run != cmd_auth && command->run != cmd_hello && command->run != cmd_config_set))
        return false;
    if (command->run == cmd_auth)
        return arg > 0;
    if (command->run == cmd_hello)
        return hello_hides(argv, argc, arg);
    return arg >= 3 && arg % 2 == 1 && option_is_secret(argv[arg - 1]);
}

// ---- entries

static void append_word(struct command_entry *e, struct slice word, const char *behind)
{
    uint8_t head[4];
    size_t more = strlen(behind);
    store_u32(head, (uint32_t)(word.len + more));
    buf_append(&e->words, head, sizeof head);
    buf_append_slice(&e->words, word);
    buf_append(&e->words, behind, more);
    e->argc++;
}

static void append_argument(struct command_entry *e, struct slice word, bool gone)
{
    char rest[48] = "";
    size_t kept = gone ? 0 : word.len < WORD_MAX ? word.len : WORD_MAX;
    if (kept < word.len)
        snprintf(rest, sizeof rest, "... (%zu more bytes)", word.len - kept);
    append_word(e, slice_of(word.data, kept), rest);
}

// What came from another worker is called by its line of the table: "config|set".
static struct slice typed_name(struct slice name)
{
    const uint8_t *bar = name.len == 0 ? NULL : memchr(name.data, '|', name.len);
    return bar == NULL ? name : slice_of(name.data, (size_t)(bar - name.data));
}

struct command_entry *command_entry_new(const struct command *command, const struct slice *argv, uint32_t argc, uint64_t value,
                                        int64_t now_ms, size_t bytes_gone)
{
    struct command_entry *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->refs = 1;
    e->value = value;
    e->time_ms = now_ms;
    buf_init(&e->words, BUF_NO_LIMIT);
    buf_init(&e->address, BUF_NO_LIMIT);
    buf_init(&e->name, BUF_NO_LIMIT);
    uint32_t shown = argc < WORDS_MAX ? argc : WORDS_MAX;
    for (uint32_t i = 0; i < shown; i++) {
        if (shown != argc && i == shown - 1) {
            char rest[48];
            snprintf(rest, sizeof rest, "... (%" PRIu32 " more arguments)", argc - shown + 1);
            append_word(e, slice_of("", 0), rest);
        } else if (command_hides(command, argv, argc, i)) {
            append_word(e, slice_cstr("(redacted)"), "");
        } else {
            append_argument(e, i == 0 ? typed_name(argv[0]) : argv[i], argv[i].len >= bytes_gone);
        }
    }
    if (!e->words.failed)
        return e;
    return command_entry_free(e);
}

void command_entry_sender(struct command_entry *e, const struct client *client)
{
    if (client == NULL)
        return;
    buf_append_slice(&e->address, slice_cstr(client->address));
    if (client->name != NULL)
        buf_append_slice(&e->name, slice_cstr(client->name));
}

struct command_entry *command_entry_free(struct command_entry *e)
{
    if (e == NULL || atomic_fetch_sub_explicit(&e->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    buf_deinit(&e->words);
    buf_deinit(&e->address);
    buf_deinit(&e->name);
    free(e);
    return NULL;
}

// ---- logs

// Forgets the oldest beyond `count`; what is cut off is the caller's, linked by `newer`.
static struct command_entry *cut(struct command_log *l, uint64_t count)
{
    struct command_entry *first = NULL, *last = NULL;
    while (l->count > count) {
        struct command_entry *e = l->oldest;
        l->oldest = e->newer;
        e->newer = NULL;
        if (first == NULL)
            first = e;
        else
            last->newer = e;
        last = e;
        l->count--;
    }
    if (l->oldest == NULL)
        l->newest = NULL;
    else
        l->oldest->older = NULL;
    return first;
}

static void free_all(struct command_entry *e)
{
    for (struct command_entry *next; e != NULL; e = next) {
        next = e->newer;
        command_entry_free(e);
    }
}

void command_log_add(struct command_log *l, struct command_entry *e, uint64_t length_max)
{
    if (e == NULL)
        return;
    guard_hold(&l->guard);
    e->id = l->next_id++;
    e->older = l->newest;
    if (l->newest != NULL)
        l->newest->newer = e;
    else
        l->oldest = e;
    l->newest = e;
    l->count++;
    struct command_entry *old = l->count > length_max ? cut(l, length_max) : NULL;
    guard_release(&l->guard);
    free_all(old);
}

void command_log_reset(struct command_log *l)
{
    guard_hold(&l->guard);
    struct command_entry *old = cut(l, 0);
    guard_release(&l->guard);
    free_all(old);
}

uint32_t command_log_length(struct command_log *l)
{
    guard_hold(&l->guard);
    uint32_t count = l->count;
    guard_release(&l->guard);
    return count;
}

uint32_t command_log_take(struct command_log *l, struct command_entry **out, uint32_t count)
{
    uint32_t taken = 0;
    guard_hold(&l->guard);
    for (struct command_entry *e = l->newest; e != NULL && taken < count; e = e->older) {
        atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
        out[taken++] = e;
    }
    guard_release(&l->guard);
    return taken;
}
