// SPDX-License-Identifier: Apache-2.0
// What the command line of skerry-bench asks for.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum op_kind { OP_GET, OP_SET, OP_INCR, OP_MGET, OP_MSET, OP_PING, OP_ECHO, OP_COUNT };

extern const char *const op_names[OP_COUNT];

enum {
    OPTIONS_SIZES_MAX = 16,
    OPTIONS_CPUS_MAX = 128,
    OPTIONS_THREADS_MAX = 128,
    OPTIONS_CONNECTIONS_MAX = 1 << 20,
    OPTIONS_PIPELINE_MAX = 1 << 16,
};

enum bench_protocol { PROTOCOL_RESP2 = 2, PROTOCOL_RESP3 = 3, PROTOCOL_FCNP = 0xFA };

struct value_size {
    uint64_t bytes;
    uint32_t weight;
};

struct options {
    const char *host;
    const char *port;
    const char *unix_path; // NULL: TCP
    const char *password;  // NULL: no AUTH
    uint32_t connections;
    uint32_t pipeline;
    uint32_t threads;
    uint32_t cpus[OPTIONS_CPUS_MAX];
    uint32_t cpu_count;
    double duration_s;
    double warmup_s;
    double timeout_s;
    uint64_t requests; // 0: by duration
    uint64_t keys;
    uint32_t key_size;
    struct value_size sizes[OPTIONS_SIZES_MAX];
    uint32_t size_count;
    double zipf; // exponent; 0: uniform
    uint32_t mix[OP_COUNT];
    uint32_t batch;    // keys per MGET or MSET
    double rate;       // requests per second over all connections; 0: closed loop
    uint32_t protocol; // enum bench_protocol
    bool direct;       // FCNP: each key to its shard's own port ...
    bool shard_prefix; // ... with no more than the shard in front of it
    uint64_t seed;
    pid_t server_pid; // 0: none
    bool preload;
    bool verify;
    bool json;
    bool announce;
};

const char *options_protocol(const struct options *o);

// 0: go on; 1: the user asked for help or version, which was printed; -EINVAL: the reason is in `error`.
int options_parse(struct options *o, int argc, char **argv, char *error, size_t error_size);
