// SPDX-License-Identifier: Apache-2.0
// What a client is made of, for the files of this folder.
//
//   requests   a ring in the order of queueing; each belongs to one lane, and the lanes chain theirs by `next`
//   lane       one connection to be: bytes out, bytes in, and its requests:  answered | sent | unsent  (oldest first)
//   limbo      a lane that never connects: requests for keys while the topology is not known
//
// The replies of a lane lie in its `in` buffer in the order of its requests, so the oldest request's reply, once it is there, is always
// the first frame of its lane's buffer: replies are neither copied nor moved to bring them into order.
//
// Where a request can be, and what ends it:
//   limbo -> (topology learnt) -> unsent -> (last byte given to the kernel) -> sent -> (whole reply checked) -> answered
//   limbo, unsent: stay when a connection is lost; end at their timeout, with a refusal, or (unsent) when the topology changes
//   sent: end with their connection
#pragma once

#include "address.h"
#include "memory.h"
#include "topology.h"
#include "wire.h"

#define NEVER INT64_MAX // ms of the monotonic clock

enum lane_role { LANE_DISCOVERY, LANE_FANOUT, LANE_SHARD, LANE_LIMBO };
enum lane_state { LANE_IDLE, LANE_CONNECTING, LANE_GREETING, LANE_READY };

struct lane {
    struct skerry_client *client;
    enum lane_role role;
    enum lane_state state;
    uint32_t shard;
    int fd;
    uint32_t interest; // epoll events asked for; 0: not in the set
    union socket_address peer;
    int address_at;       // which of the host's addresses is next
    struct buffer out;    // frames of the unsent requests
    size_t sent_of_front; // bytes of out's first frame that the kernel has
    struct buffer in;
    size_t answered_bytes;  // in: whole checked replies from its start; what follows is a part of one
    struct buffer greeting; // AUTH and HELLO, before anything else
    int greeting_left;      // replies to them that are due
    bool proven;            // this connection has brought a good reply
    unsigned failures;      // connections in a row that did not
    uint64_t rounds;        // failed rounds over all addresses, ever
    int64_t try_at, connect_deadline;
    // Sequence numbers in the ring, meaningful while their count is not 0. The unsent ones are the last of the unanswered ones.
    uint64_t unanswered, unsent, last;
    size_t unanswered_count, unsent_count;
    size_t untaken_count; // requests of the ring that name this lane
    struct lane *next_retired;
    bool retired; // of an earlier topology: brings the replies that are due, takes no requests
    // Why the last connection ended.
    int lost_status, lost_errno;
    const char *lost_why;
};

enum request_state { REQUEST_QUEUED, REQUEST_SENT, REQUEST_ANSWERED, REQUEST_FAILED };

struct request {
    struct lane *lane;
    void *tag;
    uint64_t next;         // sequence number of the lane's next one
    uint64_t frame_length; // of the request, once answered of the reply
    uint64_t session_hash; // of a routed one
    int64_t deadline;
    uint32_t generation; // of the topology that routed it
    const char *why;
    int error_number;
    uint8_t opcode, state, status;
    bool routed;
};

struct skerry_client {
    struct memory memory;
    struct skerry_client_options options; // its texts are not ours: they are copied below
    char user[HOST_MAX];
    char *password;
    size_t password_size; // of the memory, with the ending 0
    bool discovers;       // asks for the topology at all
    struct address address, direct_address;
    bool direct_host; // direct_address was given; otherwise it is where discovery found the server
    int epoll, timer;
    int64_t next_timer, armed_timer; // ms

    struct lane discovery, fanout, limbo;
    struct lane **shards; // lane_count of them; grows, never shrinks
    struct lane *retired;
    uint32_t lane_count;
    struct topology topology;
    bool known, stale;
    bool connecting;     // skerry_client_connect() waits
    uint32_t generation; // counts learnt topologies

    struct request *requests; // ring; index = sequence number & (ring_size - 1)
    size_t ring_size;
    uint64_t head, tail;
    struct lane *held; // whose first reply the user looks at
    size_t held_bytes;
    struct skerry_client_reply reply;
    struct buffer batch; // values of mget
    char refusal[256];   // what the server said against us
    char error[512];
};

// ---- ring.c: requests and their lanes, no I/O

static inline struct request *skc_request(struct skerry_client *c, uint64_t sequence)
{
    return &c->requests[sequence & (c->ring_size - 1)];
}
int skc_ring_reserve(struct skerry_client *c); // room for one more: a status
// Appends the request (its lane, opcode, frame_length set) to the ring and its lane; the frame stands at the lane's out.end and is
// taken over by it.
void skc_ring_append(struct skerry_client *c, const struct request *request);
// The lane's oldest unanswered request has its reply of this many bytes.
void skc_ring_answer(struct lane *lane, uint64_t reply_length);
void skc_ring_sent(struct lane *lane, size_t bytes); // the kernel has taken so many more bytes of out
void skc_ring_fail_sent(struct lane *lane, int status, int error_number, const char *why);
void skc_ring_fail_unsent(struct lane *lane, int status, int error_number, const char *why);
void skc_ring_expire_unsent(struct lane *lane, int64_t now);
int skc_ring_move(struct lane *from, struct lane *(*choose)(struct skerry_client *, struct request *, unsigned char *frame));

// ---- lane.c: connections

void skc_lane_init(struct lane *lane, struct skerry_client *c, enum lane_role role, uint32_t shard);
void skc_lane_deinit(struct lane *lane);
void skc_lane_drive(struct lane *lane, int64_t now); // connects or sends when there is something to
void skc_lane_event(struct lane *lane, uint32_t events, int64_t now);
void skc_lane_time(struct lane *lane, int64_t now); // ends what is late
int64_t skc_lane_timer(const struct lane *lane);    // when skc_lane_time() or _drive() has something to do
void skc_lane_lost(struct lane *lane, int status, int error_number, const char *why, int64_t now);
void skc_lane_close(struct lane *lane);
void skc_lane_send(struct lane *lane, int64_t now);
void skc_lane_receive(struct lane *lane, int64_t now);
void skc_lane_resume(struct lane *lane); // reads again when replies were taken
void skc_lane_name(const struct lane *lane, char *out, size_t size);

// ---- discovery.c: from HELLO to lanes

bool skc_discovery_needed(const struct skerry_client *c);
bool skc_lane_wanted(const struct lane *lane); // has a reason to be connected
void skc_discovery_done(struct skerry_client *c, const struct topology *topology, int64_t now);
// The server does not want us, or cannot be used: everything that waits for the lane ends with this.
void skc_refuse(struct lane *lane, int status, struct skerry_client_bytes text, int64_t now);
// Where a request for a key goes: limbo while that is not known; NULL without memory for a lane.
struct lane *skc_lane_for(struct skerry_client *c, uint64_t full_hash, uint64_t session_hash);
void skc_sweep(struct skerry_client *c); // frees retired lanes that nothing names any more

// ---- client.c

int64_t skc_now(void);
void skc_pump(struct skerry_client *c, int64_t until); // one round; waits until this time at most (0: not at all)
void skc_timer(struct skerry_client *c, int64_t at);   // something is due then
void skc_release(struct skerry_client *c);             // the user's view ends
int skc_error(struct skerry_client *c, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
int skc_queue(struct skerry_client *c, const struct wire_request *wire, void *tag); // a status
void skc_arm(struct skerry_client *c);
int skc_call(struct skerry_client *c, const struct wire_request *wire, bool reads, const struct skerry_client_reply **reply);
int skc_blocking(struct skerry_client *c); // BUSY when replies are outstanding
