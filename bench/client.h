// SPDX-License-Identifier: Apache-2.0
// One client thread: a ring of its own, its share of the connections, and what it measured.
//
// Closed loop: a connection sends a batch of `pipeline` requests and, when all are answered, the next one.
// Open loop: request i is due at start + i / rate whatever the server does, on connection i mod connections; a connection that
// has `pipeline` requests in flight lets the due ones wait, and their latency counts from when they were due.
#pragma once

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "bench/options.h"
#include "bench/reply_scan.h"
#include "bench/workload.h"

struct connection {
    int fd;
    uint32_t shard;       // whose port it is at; 0 when it takes any key
    bool sending;         // the kernel still owns `out`
    bool queued;          // in the client's ready queue
    uint32_t in_flight;   // requests without a reply
    uint32_t batch_left;  // closed loop: requests of this batch not yet written
    uint32_t first;       // oldest slot in flight
    uint64_t due;         // open loop: requests that should be under way and are not
    uint64_t due_next;    // open loop: number of the next one to write
    uint64_t out_len;     // bytes in `out`
    uint64_t out_sent;    // of which the kernel took
    uint64_t echoed;      // bytes of the message that is coming back
    uint64_t reply_bytes; // verified bytes of the bulk under way are right so far
    bool reply_wrong;     // something in the reply under way is not what it must be
    uint8_t *out;
    struct request *slots; // a ring of slot_mask + 1
    struct reply_scan scan;
};

struct measure {
    struct histogram latency; // nanoseconds
    uint64_t requests;        // answered within the window
    uint64_t errors;          // of them with an error
    uint64_t misses;          // of them null
    uint64_t wrong;           // of them with a value that is not the key's
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t last_reply_ns;
    uint64_t cpu_ns; // of this thread within the window
    char error_text[REPLY_TEXT_MAX];
};

// One run over the connections; every client gets the same but for its own share.
struct phase {
    const struct workload *workload;
    uint64_t start_ns;
    uint64_t measure_ns; // replies before are not counted
    uint64_t end_ns;     // UINT64_MAX: until `quota` requests are answered
    uint64_t quota;      // requests written from measure_ns on; UINT64_MAX: no limit
    uint64_t first_key;  // in order from here when `in_order`
    bool in_order;
    uint32_t pipeline;
    double interval_ns; // of this client's arrivals; 0: closed loop
};

struct client {
    const struct options *options;
    const struct topology *topology;
    uint32_t index;
    struct measure measure;
    char failure[256]; // why client_run() failed

    struct phase phase;
    struct request_source source;
    atomic_bool *stop; // somebody failed: end soon

    struct io_uring ring;
    bool ring_open;
    struct io_uring_buf_ring *buffers;
    uint8_t *buffer_memory;
    uint32_t buffer_count;
    uint32_t buffer_size;

    struct connection *connections;
    uint32_t connection_count;
    uint32_t slot_mask;
    uint64_t out_size;
    uint32_t *ready; // queue of connections that may be able to send
    uint32_t ready_first;
    uint32_t ready_count;

    uint64_t now_ns;
    bool measuring;
    uint64_t cpu_start_ns;
    uint64_t granted;   // of the quota: requests that connections were told to send
    uint64_t in_flight; // over all connections
    uint64_t progress_ns;
    uint64_t arrivals; // open loop: arrivals so far
};

// Connects; everything is allocated here. `pipeline_max` and `request_max` bound the phases to come.
// `first` connections belong to the clients before this one.
int client_open(struct client *c, const struct options *o, const struct topology *t, uint32_t index, uint32_t first, uint32_t connections,
                uint32_t pipeline_max, uint64_t request_max, atomic_bool *stop);

// The ring belongs to the thread that calls this, which then calls client_run().
int client_open_ring(struct client *c);
int client_run(struct client *c, const struct phase *phase);
void client_close(struct client *c);

uint64_t client_clock_ns(void);
