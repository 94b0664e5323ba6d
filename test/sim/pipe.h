// SPDX-License-Identifier: Apache-2.0
// One direction of a simulated connection: bytes that arrive at their time, in order, and an end.
//
//   pipe_push ---> | on their way (segments, each with its time) | arrived, not yet taken | ---> pipe_take
//                  '------------------------- at most `window` bytes --------------------'
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct segment {
    uint64_t at_ns;
    size_t len;
};

struct pipe {
    uint8_t *data;
    size_t start, len, cap;
    size_t window;
    struct segment *segments;
    size_t first, count, segments_cap;
    size_t arrived;
    uint64_t last_ns; // when the last byte pushed arrives
    bool fin;
    uint64_t fin_ns;
};

#define NEVER UINT64_MAX

void pipe_init(struct pipe *p, size_t window);
void pipe_deinit(struct pipe *p);
size_t pipe_room(const struct pipe *p);
// Arrives at `at_ns`, or when what was pushed before it has arrived. len <= room.
void pipe_push(struct pipe *p, const uint8_t *bytes, size_t len, uint64_t at_ns);
void pipe_end(struct pipe *p, uint64_t at_ns);
// Bytes that may be taken.
size_t pipe_arrived(struct pipe *p, uint64_t now_ns);
void pipe_take(struct pipe *p, uint8_t *to, size_t len);
// Everything was taken and the end has arrived.
bool pipe_ended(struct pipe *p, uint64_t now_ns);
// When something will be there to take, at once or later; NEVER.
uint64_t pipe_next_ns(const struct pipe *p);
// What was not taken is lost.
void pipe_drop(struct pipe *p);
