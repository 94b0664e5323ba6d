// SPDX-License-Identifier: Apache-2.0
// Patterns against texts, beside a matcher that is plainly right: it tries every length of every star (short inputs only).
#include <stdint.h>
#include <stdlib.h>

#include "engine/command/glob.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Without classes; `in` and `text` are short.
static bool plainly(const uint8_t *p, const uint8_t *p_end, const uint8_t *t, const uint8_t *t_end)
{
    if (p == p_end)
        return t == t_end;
    if (*p == '*') {
        for (const uint8_t *rest = t; rest <= t_end; rest++)
            if (plainly(p + 1, p_end, rest, t_end))
                return true;
        return false;
    }
    if (t == t_end)
        return false;
    if (*p == '?')
        return plainly(p + 1, p_end, t + 1, t_end);
    if (*p == '\\' && p + 1 < p_end)
        p++;
    return *p == *t && plainly(p + 1, p_end, t + 1, t_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t cut = data[0] % size;
    struct slice pattern = slice_of(data + 1, cut), text = slice_of(data + 1 + cut, size - 1 - cut);
    bool got = glob_match(pattern, text, false);
    glob_match(pattern, text, true);
    bool has_class = pattern.len > 0 && memchr(pattern.data, '[', pattern.len) != NULL;
    if (!has_class && pattern.len <= 12 && text.len > 0 && text.len <= 16 &&
        got != plainly(pattern.data, pattern.data + pattern.len, text.data, text.data + text.len))
        abort();
    return 0;
}
