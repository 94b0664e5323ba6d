// SPDX-License-Identifier: Apache-2.0
// LOG_METHOD_AUTO: which way a frame goes is for each size of frames what has been quicker under this load. A write that syncs itself
// (dsync) is finished by the kernel alone, on whatever core the device speaks to; a chain of write and sync (linked) needs the host's ring
// between the two, and its core. Which of them is quicker depends on what else these cores do: no measurement at the start can tell.
//
// Kept is a moving average of what each way took. The slower one goes again with every LOG_TRY-th frame of its size.
#include "persist/log_inside.h"

#define LOG_TRY     64
#define LOG_AVERAGE 8 // frames

static const uint8_t METHODS[LOG_WAYS] = { LOG_METHOD_DSYNC, LOG_METHOD_LINKED };

// 1, 2 to 3, 4 to 7, 8 to 15 blocks, and more.
static uint32_t size_of(uint32_t blocks)
{
    uint32_t size = 31 - (uint32_t)__builtin_clz(blocks);
    return size < LOG_SIZES ? size : LOG_SIZES - 1;
}

enum log_method log_method_choose(struct log *l, uint32_t blocks)
{
    if (l->options.method != LOG_METHOD_AUTO)
        return l->options.method;
    if (l->slot_count > 1)
        return LOG_METHOD_DSYNC; // a chain goes alone
    struct log_ways *w = &l->ways[size_of(blocks)];
    uint32_t best = w->ns[1] < w->ns[0]; // one that has not been tried is the best
    return METHODS[++w->frames % LOG_TRY == 0 ? !best : best];
}

void log_method_note(struct log *l, const struct log_slot *slot, uint64_t took_ns)
{
    assert(slot->synced);
    if (l->options.method != LOG_METHOD_AUTO || slot->fresh)
        return;
    uint64_t *ns = &l->ways[size_of(slot->blocks)].ns[slot->method == METHODS[1]];
    took_ns = *ns != 0 && took_ns > 2 * *ns ? 2 * *ns : took_ns; // the device may have had other things to do
    *ns = *ns == 0 ? took_ns : *ns - *ns / LOG_AVERAGE + took_ns / LOG_AVERAGE;
}
