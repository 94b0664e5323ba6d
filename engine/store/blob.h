// SPDX-License-Identifier: Apache-2.0
// A large value on pages of its own. It is filled where it will stay: a connection receives into it, SET hands it to the
// keyspace, and no byte is copied. It may be made by one worker and given to another with a message.
//
// Its pages are a run of the worker that made it (runs.h), or a mapping of their own when they are many. Whoever is last to let go of a
// blob sends its run home; only the home's worker touches the home's books. Pins are taken by the worker that owns the blob, and dropped by
// whoever they were given to. While there are any, the bytes stay as they are: the owner that wants to change them makes a copy.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/memory.h"
#include "base/slice.h"
#include "engine/store/runs.h"

#define BLOB_MIN (64 * 1024) // smaller values live in slab slots
// Pages that a blob being received takes at first, at most. It begins where all that was announced is free, and so mostly grows in place.
#define BLOB_FIRST (128 * 1024)

// A value begins this far into its first page. The kernel copies it to a socket behind a reply's short header: were it at the
// page's beginning, every load would lie just behind a store of the same lower 12 bits, which the processor takes for the same
// place and waits for. (64 KiB by sendmsg behind 8 bytes: 33 us so, 14 us with half a page between.)
#define BLOB_GAP 2048

// Where a worker's large values are. Lives until the store has closed it and its last blob is gone, whoever has that.
struct blobs {
    struct memory *memory;
    struct runs runs;                // reserved with the first blob
    struct blob *giving;             // came home, not yet in the books
    _Atomic(struct blob *) returned; // by anybody
    atomic_ullong mapped;            // bytes of blobs with a mapping of their own
    atomic_ullong users;             // the store and each blob
};

struct blob {
    struct blobs *home;  // whose pages these are
    struct blobs *owner; // who gives more: of the store that has the value now
    uint8_t *data;       // BLOB_GAP behind the pages' beginning
    size_t len;          // bytes filled
    size_t cap;          // bytes of pages reserved, the gap with them
    atomic_uint holders; // the owner, until it lets go, and readers that must not lose the pages
    bool mapped;         // the pages are a mapping of their own
    struct blob *next;   // on its way home
};

struct blobs *blobs_new(struct memory *m); // NULL: out of memory
// The store lets go.
struct blobs *blobs_close(struct blobs *p);
// Puts some of what came home back into the books. True: there is more.
bool blobs_collect(struct blobs *p);
// Hands some free pages back to the system while more than `keep` bytes have memory. False: nothing to do.
bool blobs_discard(struct blobs *p, uint64_t keep);
// Bytes with memory behind them, wherever their blobs are.
uint64_t blobs_resident(const struct blobs *p);
// Of runs: bytes of free pages that have memory, and of those in use.
uint64_t blobs_free(const struct blobs *p);
uint64_t blobs_taken(const struct blobs *p);
// Nothing is asked for ahead of its use that would make more bytes resident; 0 = no limit.
void blobs_prepare_below(struct blobs *p, uint64_t bytes);

// NULL when out of memory. Capacity grows with what arrives, at most doubling: never in proportion to what was announced.
struct blob *blob_new(struct blobs *home);
// A holder lets go: the owner, or (blob_unpin) a reader. The last one frees.
struct blob *blob_free(struct blob *b);
// Room for at least one byte and at most `want` behind `len`: returns how much, 0 = out of memory.
size_t blob_reserve(struct blob *b, size_t want);

// A blob with these bytes, NULL = out of memory.
struct blob *blob_copy(struct blobs *home, struct slice bytes);
// The same bytes and the same capacity, at its owner's.
struct blob *blob_clone(const struct blob *b);
// Sets len; new bytes are zero. Capacity follows in both directions. False = out of memory, unchanged.
bool blob_set_len(struct blob *b, size_t len) warn_unused;
// Gives back pages behind len. (Cannot fail: what cannot be given back stays.)
void blob_trim(struct blob *b);

// Only the owner, or who holds a pin itself.
static inline struct blob *blob_pin(struct blob *b)
{
    atomic_fetch_add_explicit(&b->holders, 1, memory_order_relaxed);
    return b;
}

static inline void blob_unpin(struct blob *b)
{
    blob_free(b);
}

// The owner asks: does anybody read it? What readers have done before they let go has been done.
static inline bool blob_pinned(const struct blob *b)
{
    return atomic_load_explicit(&b->holders, memory_order_acquire) > 1;
}
