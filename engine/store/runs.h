// SPDX-License-Identifier: Apache-2.0
// Runs of 4 KiB pages in one reserved range of addresses: what large values lie on. However many runs there are, the kernel sees one
// mapping (vm.max_map_count allows 65,530).
//
//   | taken run | free run | taken | taken | free run | never used ...
//                                                     ^ frontier
//
// Free runs are listed by length: one list for each length below RUNS_EXACT, then 8 lists a doubling. Free neighbours become one at
// once: the pages on both sides of a run being given back tell (bitmap `taken`), and both ends of a free run know its length.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/memory.h"

#define RUNS_PAGE  ((size_t)4096)
#define RUNS_RANGE ((size_t)256 << 30) // addresses cost nothing
#define RUNS_STEP  512u                // pages: the frontier moves by huge pages
#define RUNS_MAX   1024u               // pages of the longest run: what is longer deserves a mapping of its own
#define RUNS_EXACT 32u
#define RUNS_BINS  240u
#define RUNS_NONE  UINT32_MAX
// So much memory is prepared beyond the frontier, once that is past RUNS_PREPARE_FROM.
#define RUNS_PREPARE      (2 * RUNS_STEP)
#define RUNS_PREPARE_FROM (8 * RUNS_STEP)

// Of the first page of a free run; its last page has the length, too.
struct run_tag {
    uint32_t pages;
    uint32_t next;
    uint32_t prev;
};

struct runs {
    struct memory *memory;
    uint8_t *base; // NULL: nothing reserved yet
    size_t size;
    struct run_tag *tags; // one a page, and behind them the bitmaps
    uint64_t *taken;      // bit per page
    uint64_t *touched;    // the system has given memory for it
    uint32_t pages;
    uint32_t frontier;
    uint32_t prepared;      // pages before it have been asked for (base/memory.h)
    uint64_t prepare_below; // what is asked for ahead may make so many bytes resident, 0 = any number
    uint32_t sweep;         // where giving back goes on, in steps
    uint64_t taken_count;
    uint64_t touched_count;
    uint64_t filled[(RUNS_BINS + 63) / 64]; // bit per list: is there a run
    uint32_t bins[RUNS_BINS];
};

// Reserves the range; `prepare_below` has been set. -ENOMEM: not even a small one was to be had.
int runs_init(struct runs *r, struct memory *m) warn_unused;
void runs_deinit(struct runs *r);

// NULL = none left. The contents are not defined. `hope`: where there is a choice, so many pages are free behind the run's beginning, so
// that it can grow in place.
uint8_t *runs_take(struct runs *r, uint32_t pages, uint32_t hope);
void runs_give(struct runs *r, uint8_t *run, uint32_t pages);
// In place: false when the pages behind are in use.
bool runs_grow(struct runs *r, uint8_t *run, uint32_t pages, uint32_t more);
// Hands free pages of one huge page's size back to the system, while more than `keep` free pages have memory; or the books of pages
// that are no longer used. False: nothing to do.
bool runs_discard(struct runs *r, uint64_t keep);
// Walks everything and checks the invariants; for audits.
bool runs_valid(const struct runs *r);

// Bytes with memory behind them, or soon, and what keeps the books.
static inline uint64_t runs_resident(const struct runs *r)
{
    uint64_t ahead = r->prepared > r->frontier ? r->prepared - r->frontier : 0;
    return (r->touched_count + ahead) * RUNS_PAGE + (uint64_t)r->frontier * sizeof(struct run_tag);
}
