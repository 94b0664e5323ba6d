// SPDX-License-Identifier: Apache-2.0
// What is asked: request templates, the choice of the next key, and values that are a function of their key, so that every
// value read back can be checked without remembering anything.
//
//   key     "key:" or "k" (counters of INCR: "ctr:" or "c"), zeros, the key's number in decimal; always --key-size long
//   value   8 bytes mixed from the key's number, then bytes of a fixed noise from a place that the number decides; a shorter
//           value is the beginning of a longer one
//
// A request is written by copying a template and patching digits and value.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "bench/options.h"
#include "bench/template.h"
#include "bench/topology.h"

enum {
    WORKLOAD_CHOICES = 1024,
    WORKLOAD_TEMPLATES_MAX = OP_COUNT * OPTIONS_SIZES_MAX,
    WORKLOAD_NOISE = 8192,
    WORKLOAD_RUN = 16,   // keys
    WORKLOAD_SLACK = 32, // short copies go in steps of so many bytes: who is read or written has that much room behind
};

// The keys of one shard, for connections to its own port, with their hashes: so that a request costs hardly more than one whose key may be
// any. In random order, from which runs of a few are taken (what to hash and look up for each is not on the way of a draw); with a Zipf
// distribution its draws, one after another.
struct shard_key {
    uint64_t hash;
    uint64_t number;
};
struct shard_keys {
    struct shard_key *keys;
    uint64_t count;
};

struct workload {
    const struct options *options;
    uint32_t template_count;
    struct template templates[WORKLOAD_TEMPLATES_MAX];
    uint8_t choices[WORKLOAD_CHOICES]; // template by ten random bits
    uint64_t len_max;                  // of one request
    uint32_t *ranks;                   // draws of a Zipf distribution, shared; NULL when uniform
    struct shard_keys *shards;         // [shard_count], NULL: any connection takes any key
    uint32_t shard_count;
    uint8_t noise[2 * WORKLOAD_NOISE + WORKLOAD_SLACK];
};

enum { WORKLOAD_RANKS = 1 << 20 };

// Where one thread takes its next request from.
struct request_source {
    const struct workload *workload;
    struct prng random;
    uint64_t next_rank;
    uint32_t shard; // of the connection that the next request is for
    uint32_t run_shard;
    uint32_t run_left; // of a run of keys of run_shard
    uint64_t run_next;
    bool in_order; // keys first..last once, for loading
    uint64_t next_key;
};

// What must be remembered of a request until its reply comes.
struct request {
    uint64_t stamp_ns; // sent, or meant to be sent
    uint64_t key : 56;
    uint64_t template : 8;
};

// 0 or -ENOMEM. With `load` the only request is SET, whatever the mix says.
int workload_init(struct workload *w, const struct options *o, bool load);
// Sorts the keys by shard. 0, -ENOMEM, or -EINVAL when a shard would have none.
int workload_shard(struct workload *w, const struct topology *t);
void workload_deinit(struct workload *w);

void request_source_init(struct request_source *s, const struct workload *w, uint64_t seed);

// Writes the next request to `to`, which has room for len_max + WORKLOAD_SLACK bytes; returns its length and describes it in *r.
uint64_t workload_write(struct request_source *s, uint8_t *to, struct request *r);

// Are these the bytes at offset `at` of the key's value?
bool workload_value_matches(const struct workload *w, uint64_t key, uint64_t at, const uint8_t *bytes, uint64_t len);
bool workload_size_known(const struct workload *w, uint64_t len);

// The n-th key of a request that begins with `key`.
static inline uint64_t workload_key(const struct workload *w, uint64_t key, uint32_t n)
{
    return n == 0 ? key : (key + n) % w->options->keys;
}
