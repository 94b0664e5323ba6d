// SPDX-License-Identifier: Apache-2.0
// Finds the ends of RESP2 and RESP3 replies in a stream that may be cut at any byte. Nothing is stored but the first bytes of
// an error's text: bulk bytes are skipped by their length, or handed out as views while they pass.
//
// Elements are counted, not nested: an aggregate of n elements adds n to what is still missing, so depth costs nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum reply_event {
    REPLY_MORE,  // the input is used up
    REPLY_DONE,  // a reply is complete; its facts are in the scanner until the next call
    REPLY_BYTES, // a piece of a bulk passed by (only when `want_bytes`)
    REPLY_BAD,   // not RESP; the stream is lost
};

enum reply_state { REPLY_TYPE, REPLY_LINE, REPLY_BULK, REPLY_BULK_CR, REPLY_BULK_LF };

enum { REPLY_TEXT_MAX = 120, REPLY_LINE_MAX = 64 * 1024 };

struct reply_scan {
    bool want_bytes;

    // facts of the reply under way or just completed
    bool error;            // its first element is an error, or any within it
    bool null;             // it is a null
    uint32_t bulks;        // bulk strings that were begun
    uint64_t bulk_len;     // of the last one
    uint64_t bulk_at;      // offset of `bytes` within it
    struct slice bytes;    // for REPLY_BYTES
    uint64_t last_integer; // of the last ':' element

    enum reply_state state;
    bool fresh;        // the next byte begins a reply
    bool push;         // what is being read is not an answer to anything
    uint8_t type;      // of the line or bulk under way
    bool negative;     // the line's number has a sign
    bool number_bad;   // the line held no number
    uint64_t number;   // the line's number so far
    uint64_t line_len; // bytes of the line so far
    uint64_t missing;  // elements until the reply is complete
    uint64_t bulk_left;
    uint8_t frame[8];   // fcnp_scan.c: bytes of a header or a length that a cut parted ...
    uint32_t frame_len; // ... so many
    bool counted;       // fcnp_scan.c: the Array's count is known (`number`)
    bool text_closed;   // `text` holds a whole error, later ones do not overwrite it
    uint32_t text_len;  // of the first error seen since the scanner was made
    char text[REPLY_TEXT_MAX];
};

void reply_scan_init(struct reply_scan *s, bool want_bytes);

// Takes bytes from *at on, at most to `end`, and moves *at past what it has taken.
enum reply_event reply_scan_next(struct reply_scan *s, const uint8_t **at, const uint8_t *end);
