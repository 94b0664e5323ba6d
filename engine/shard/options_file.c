// SPDX-License-Identifier: Apache-2.0
// Options from a file's lines and from flags.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/shard/options.h"

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == '\0';
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static uint8_t escaped(uint8_t c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

struct splitter {
    struct slice line;
    size_t at;
    struct buf *storage;
};

static void take_byte(struct splitter *s, uint8_t c, size_t spent)
{
    buf_append(s->storage, &c, 1);
    s->at += spent;
}

// Inside "...": `at` is behind the opening quote; false when the line ends first.
static bool take_double_quoted(struct splitter *s)
{
    const uint8_t *p = s->line.data;
    while (s->at < s->line.len) {
        size_t left = s->line.len - s->at;
        uint8_t c = p[s->at];
        if (c == '"') {
            s->at++;
            return true;
        }
        if (c == '\\' && left >= 4 && p[s->at + 1] == 'x' && hex_digit(p[s->at + 2]) >= 0 && hex_digit(p[s->at + 3]) >= 0)
            take_byte(s, (uint8_t)(hex_digit(p[s->at + 2]) << 4 | hex_digit(p[s->at + 3])), 4);
        else if (c == '\\' && left >= 2)
            take_byte(s, escaped(p[s->at + 1]), 2);
        else
            take_byte(s, c, 1);
    }
    return false;
}

static bool take_single_quoted(struct splitter *s)
{
    const uint8_t *p = s->line.data;
    while (s->at < s->line.len) {
        if (p[s->at] == '\'') {
            s->at++;
            return true;
        }
        if (p[s->at] == '\\' && s->at + 1 < s->line.len && p[s->at + 1] == '\'')
            take_byte(s, '\'', 2);
        else
            take_byte(s, p[s->at], 1);
    }
    return false;
}

// One word; quotes may begin anywhere in it but must end it.
static bool take_word(struct splitter *s)
{
    while (s->at < s->line.len && !is_space(s->line.data[s->at])) {
        uint8_t c = s->line.data[s->at];
        if (c != '"' && c != '\'') {
            take_byte(s, c, 1);
            continue;
        }
        s->at++;
        if (!(c == '"' ? take_double_quoted(s) : take_single_quoted(s)))
            return false;
        return s->at == s->line.len || is_space(s->line.data[s->at]);
    }
    return true;
}

int options_split(struct slice line, struct buf *storage, struct slice *words, uint32_t max)
{
    struct splitter s = { .line = line, .storage = storage };
    uint32_t count = 0;
    if (buf_reserve(storage, line.len + 1) == NULL) // words never outgrow the line, so the views stay where they are
        return -E2BIG;
    for (;;) {
        while (s.at < line.len && is_space(line.data[s.at]))
            s.at++;
        if (s.at == line.len)
            return (int)count;
        if (count == max)
            return -E2BIG;
        size_t begin = storage->len;
        if (!take_word(&s))
            return -EINVAL;
        words[count++] = slice_of(storage->data + begin, storage->len - begin);
    }
}

static int fail(char *error, const char *file, unsigned line, const char *reason, struct slice name)
{
    int shown = name.len < 64 ? (int)name.len : 64;
    if (shown > 0)
        snprintf(error, OPTIONS_ERROR_MAX, "%.100s:%u: %.*s: %.80s", file, line, shown, (const char *)name.data, reason);
    else
        snprintf(error, OPTIONS_ERROR_MAX, "%.100s:%u: %.80s", file, line, reason);
    return -EINVAL;
}

static int load_line(struct options *o, const char *file, unsigned number, struct slice line, char *error)
{
    struct slice words[OPTIONS_WORDS_MAX];
    struct buf storage;
    char reason[OPTIONS_ERROR_MAX];
    int rc = 0;
    buf_init(&storage, BUF_NO_LIMIT);
    int count = options_split(line, &storage, words, OPTIONS_WORDS_MAX);
    if (count < 0) {
        rc = fail(error, file, number, count == -EINVAL ? "unbalanced quotes" : "too many words", slice_of(NULL, 0));
    } else if (count > 0) {
        const struct option *option = option_find(words[0]);
        if (option == NULL)
            rc = fail(error, file, number, "no such option", words[0]);
        else if (count == 1 && !(option->flags & OPTION_MULTI))
            rc = fail(error, file, number, "wrong number of arguments", words[0]);
        else if (option_set(o, option, words + 1, (uint32_t)count - 1, reason) != 0)
            rc = fail(error, file, number, reason, words[0]);
    }
    buf_deinit(&storage);
    return rc;
}

// The next line, without its end; moves `text` behind it.
static struct slice take_line(struct slice *text)
{
    const uint8_t *end = memchr(text->data, '\n', text->len);
    size_t len = end == NULL ? text->len : (size_t)(end - text->data);
    struct slice line = slice_of(text->data, len);
    size_t spent = end == NULL ? len : len + 1;
    *text = slice_of(text->data + spent, text->len - spent);
    return line;
}

static bool is_comment(struct slice line)
{
    size_t at = 0;
    while (at < line.len && is_space(line.data[at]))
        at++;
    return at == line.len || line.data[at] == '#';
}

int options_load(struct options *o, const char *file, struct slice text, char error[OPTIONS_ERROR_MAX])
{
    for (unsigned number = 1; text.len > 0; number++) {
        struct slice line = take_line(&text);
        if (is_comment(line))
            continue;
        if (load_line(o, file, number, line, error) != 0)
            return -EINVAL;
    }
    return 0;
}

static bool is_flag(const char *text)
{
    return text[0] == '-' && text[1] == '-' && text[2] != '\0';
}

static int fail_flag(char *error, const char *flag, const char *reason)
{
    snprintf(error, OPTIONS_ERROR_MAX, "%.64s: %.180s", flag, reason);
    return -EINVAL;
}

// The words that follow a flag, up to the next flag. A flag alone is `yes`.
static int flag_words(int argc, char *const *argv, struct slice *words, uint32_t *count)
{
    int used = 0;
    const char *equals = strchr(argv[0], '=');
    *count = 0;
    if (equals != NULL) {
        words[(*count)++] = slice_cstr(equals + 1);
        return 1;
    }
    for (used = 1; used < argc && !is_flag(argv[used]) && *count < OPTIONS_WORDS_MAX; used++)
        words[(*count)++] = slice_cstr(argv[used]);
    return used;
}

int options_load_flags(struct options *o, int argc, char *const *argv, char error[OPTIONS_ERROR_MAX])
{
    for (int i = 0; i < argc;) {
        struct slice words[OPTIONS_WORDS_MAX];
        uint32_t count;
        char reason[OPTIONS_ERROR_MAX];
        if (!is_flag(argv[i]))
            return fail_flag(error, argv[i], "not a flag (flags are --name value)");
        const char *name = argv[i] + 2;
        const struct option *option = option_find(slice_of(name, strcspn(name, "=")));
        if (option == NULL)
            return fail_flag(error, argv[i], "no such option");
        bool joined = strchr(name, '=') != NULL;
        int used = flag_words(argc - i, argv + i, words, &count);
        if (count == 0 && option->kind == OPTION_IS_BOOL)
            words[count++] = slice_cstr("yes");
        // One argument may hold all words of an option: --bind "127.0.0.1 ::1".
        int rc = (joined || count == 1) && (option->flags & OPTION_MULTI) ? option_set_text(o, option, words[0], reason)
                                                                          : option_set(o, option, words, count, reason);
        if (rc != 0)
            return fail_flag(error, argv[i], reason);
        i += used;
    }
    return 0;
}
