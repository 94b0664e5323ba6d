// SPDX-License-Identifier: Apache-2.0
// Every item of a pattern but the star takes exactly one byte, so a mismatch goes back to the last star only and lets it take one
// byte more: time is at most pattern times text, never exponential, and a budget of steps bounds even that.
#include "engine/command/glob.h"

#include <stdint.h>

struct glob {
    const uint8_t *at, *end; // of the pattern
    bool fold;
};

static inline uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static inline uint8_t folded(const struct glob *g, uint8_t c)
{
    return g->fold ? lower(c) : c;
}

static bool in_range(const struct glob *g, uint8_t first, uint8_t last, uint8_t c)
{
    uint8_t low = first < last ? first : last, high = first < last ? last : first;
    c = folded(g, c);
    return c >= folded(g, low) && c <= folded(g, high);
}

// Behind '['; ends behind ']' or, when there is none, at the end of the pattern.
static bool class_matches(struct glob *g, uint8_t c)
{
    const uint8_t *p = g->at;
    bool inverted = p < g->end && *p == '^';
    bool found = false;
    for (p += inverted; p < g->end && *p != ']'; p++) {
        if (*p == '\\' && p + 1 < g->end) {
            p++;
            found |= *p == c;
        } else if (p + 2 < g->end && p[1] == '-') {
            found |= in_range(g, p[0], p[2], c);
            p += 2;
        } else {
            found |= folded(g, *p) == folded(g, c);
        }
    }
    g->at = p < g->end ? p + 1 : p;
    return found != inverted;
}

// One item that is not a star, against one byte; moves behind the item.
static bool item_matches(struct glob *g, uint8_t c)
{
    uint8_t item = *g->at++;
    if (item == '?')
        return true;
    if (item == '[')
        return class_matches(g, c);
    if (item == '\\' && g->at < g->end)
        item = *g->at++;
    return folded(g, item) == folded(g, c);
}

bool glob_match(struct slice pattern, struct slice text, bool fold_case)
{
    struct glob g = { .at = pattern.data, .end = pattern.data + pattern.len, .fold = fold_case };
    const uint8_t *c = text.data, *end = text.data + text.len;
    const uint8_t *star = NULL, *star_took = NULL; // behind the last star, and the first byte that it did not take
    size_t steps = 0;
    // Redis' matcher gives up on an empty text at once: "**" does not match it ("*" never comes here).
    if (text.len == 0)
        return pattern.len == 0;
    while (c < end) {
        const uint8_t *before = g.at;
        if (g.at < g.end && *g.at == '*') {
            star = ++g.at;
            star_took = c;
            if (star == g.end)
                return true;
            continue;
        }
        bool matched = g.at < g.end && item_matches(&g, *c);
        // A class costs its length, also when it does not match.
        steps += 1 + (size_t)(g.at - before);
        if (steps > GLOB_STEPS_MAX || (!matched && star == NULL))
            return false;
        if (matched) {
            c++;
        } else {
            c = ++star_took;
            g.at = star;
        }
    }
    while (g.at < g.end && *g.at == '*')
        g.at++;
    return g.at == g.end;
}
