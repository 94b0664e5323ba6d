// SPDX-License-Identifier: Apache-2.0
// A reactor: one core's loop between ops (what its owners want) and completions (what happened).
//
//   owner                      reactor                       backend (io_uring | epoll | simulation)
//   reactor_submit(op) ------> list of this turn
//                              reactor_turn() -------------> one enter / one epoll_wait / one step of the world
//   for each completion <----- array of completions <------- filled
//
// Nothing above this folder is ever called back by it. An op is a field of its owner and stays where it is until its last
// completion (the one without COMPLETION_MORE). One op is in flight at most once; one thread uses a reactor.
//
// Rules that hold on every backend:
//   - ops of one turn take effect in the order of submission for one fd. At most one send of an fd is in flight: bytes of a
//     second one could pass those that the first still holds.
//   - OP_SEND with OP_QUIET: when everything is sent at once there is no completion at all. If not, the completion (short
//     count, or -EAGAIN for nothing) is in the array returned by the very reactor_turn() that issued it. So memory of quiet
//     sends is free again once that array has been walked. The owner submits the rest without OP_QUIET.
//   - OP_SEND without OP_QUIET completes when everything is sent (result = len) or with an error; the memory stays until then.
//   - OP_SENDV is never quiet; its msghdr, pieces and their memory stay until it completes.
//   - OP_SENDV with OP_ZEROCOPY (only with REACTOR_ZEROCOPY_SEND) sends everything from where it lies and completes twice: with
//     COMPLETION_MORE when it has been sent, and when nobody looks at the memory any more (result 1: it was copied all the same). An
//     error may come without COMPLETION_MORE, and then alone. Behind the first one the descriptor may be closed.
//   - OP_RECV goes on until a completion without COMPLETION_MORE: 0 = end of stream, -errno, -ENOBUFS (re-arm by submitting
//     again; the backend has seen to it that this does not spin), -ECANCELED.
//   - after OP_CANCEL of an op: its last completion comes (with -ECANCELED or whatever happened first), then the cancel's own.
//   - an op is idle as soon as its last completion is in the array: what the op is a field of may go away only when that array
//     has been walked, and not in the middle of it.
//   - OP_ACCEPT that ends with -EMFILE or -ENFILE is submitted again by its owner after a while. (io_uring looks at the limit of
//     open files when the op is submitted: raise it before.)
//   - close(fd) only when no op of that fd is in flight: reactor_close().
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "base/list.h"
#include "base/slice.h"

enum op_kind {
    OP_NONE,
    OP_ACCEPT,    // multishot; result = new descriptor (non-blocking, close-on-exec)
    OP_RECV,      // multishot into the reactor's own buffers; completion.data / .buffer, return it with reactor_buffer_return
    OP_RECV_INTO, // once, into data/len; completes with at least one byte, with OP_ALL only when full (or at end / error)
    OP_SEND,      // data/len
    OP_SENDV,     // data = struct msghdr with its pieces; completes with at least one byte sent, or with an error
    OP_CONNECT,   // data/len = sockaddr
    OP_READ,      // file: data/len/offset; fixed_buffer >= 0: inside that registered buffer
    OP_WRITE,     // file; OP_DSYNC: returns when the data is on the device
    OP_FSYNC,     // fdatasync; OP_LINK on the op before it makes it wait for that one
    OP_POLL,      // once: readable
    OP_CANCEL,    // target
    OP_KIND_COUNT
};

enum op_flag {
    OP_QUIET = 1, // OP_SEND: see the rules above
    OP_ALL = 2,   // OP_RECV_INTO: wait for the whole length
    OP_LINK = 4,  // file ops: the next submitted op starts after this one succeeded in full; otherwise it gets -ECANCELED
    OP_DSYNC = 8,
    OP_MORE_COMING = 16, // OP_SEND: MSG_MORE
    OP_ZEROCOPY = 32,    // OP_SENDV
};

enum op_state { OP_IDLE, OP_QUEUED, OP_IN_FLIGHT };

// 56 bytes. `owner` and `tag` are the caller's: what kind of struct this op is a field of, and whatever helps it.
struct op {
    struct op *next;
    uint8_t kind;
    uint8_t owner;
    uint8_t flags;
    uint8_t state;
    int32_t fd;
    void *data;
    uint32_t len;
    int16_t fixed_buffer;
    uint16_t tag;
    uint64_t offset;
    struct op *target; // OP_CANCEL: what to cancel; the backend's own in every other op
    uint64_t backend;  // the backend's own
};

static_assert(sizeof(struct op) == 56, "ops are embedded in every connection");

enum completion_flag { COMPLETION_MORE = 1, COMPLETION_BUFFER = 2 };

struct completion {
    struct op *op;
    int32_t result; // >= 0 or -errno, the number the kernel gave
    uint16_t flags;
    uint16_t buffer;     // with COMPLETION_BUFFER: to be returned
    const uint8_t *data; // with COMPLETION_BUFFER: `result` bytes, the owner's to read until the buffer is returned
};

static_assert(sizeof(struct completion) == 24, "two and a half a cache line");

// Monotonic counters since start; written by the reactor's thread alone, read by anybody with relaxed loads.
struct reactor_stats {
    uint64_t turns;
    uint64_t enters;   // system calls that submit or wait (io_uring_enter, epoll_wait)
    uint64_t syscalls; // all system calls of the data path, enters included
    uint64_t ops;      // submitted
    uint64_t completions;
    uint64_t sqes;          // io_uring: entries that the kernel took
    uint64_t cqes;          // io_uring: entries that it gave; epoll: events
    uint64_t buffers_empty; // times that a receive found no buffer
    uint64_t overflows;     // completion queue overflows
    uint64_t recv_bytes;
    uint64_t send_bytes;
    uint64_t sleeps;
    uint64_t wakes_sent;
    uint64_t busy_ns; // time outside of waiting
    uint64_t longest_turn_ns;
    uint64_t buffer_bytes; // of receive buffers that joined since the start
};

// What reactor/ticks.h reads: the turn's clock (the simulation), the monotonic clock, or the processor's counter.
enum reactor_ticks { REACTOR_TICKS_TURN, REACTOR_TICKS_CLOCK, REACTOR_TICKS_COUNTER };

// REACTOR_BLOCKING is for threads that do nothing but files: their ops run in the calling thread, inside reactor_turn; it knows
// OP_READ, OP_WRITE and OP_FSYNC, and others end with -EINVAL.
enum reactor_backend { REACTOR_AUTO, REACTOR_URING, REACTOR_EPOLL, REACTOR_BLOCKING };

// What io_uring may use; all on by default, switched off one at a time by the laboratory (reactor/feature_names.h has the names). A
// feature that the kernel lacks is off by probing, whatever is asked.
enum reactor_feature {
    REACTOR_MULTISHOT_ACCEPT = 1 << 0,
    REACTOR_MULTISHOT_RECV = 1 << 1,
    REACTOR_BUFFER_RING = 1 << 2,
    REACTOR_REGISTERED_RING = 1 << 3,
    REACTOR_FIXED_BUFFERS = 1 << 4,
    REACTOR_DEFER_TASKRUN = 1 << 5,
    REACTOR_BATCHED_ENTER = 1 << 6, // off: a system call for every submission entry
    REACTOR_COOP_TASKRUN = 1 << 7,  // where there is no DEFER_TASKRUN; without both the kernel interrupts us as it likes
    REACTOR_ZEROCOPY_SEND = 1 << 8, // there for whoever asks for it, op by op
    REACTOR_FEATURES_ALL = (1 << 9) - 1,
};

struct reactor_options {
    enum reactor_backend backend;
    uint32_t features;     // enum reactor_feature bits
    uint32_t entries;      // submission queue entries wanted; halved until memlock allows; 0 = 1024
    uint32_t completions;  // completion queue entries wanted; 0 = 8192
    uint32_t buffers;      // receive buffers, a power of two; 0 = 256 (the ring grows when it runs dry, up to buffers_max)
    uint32_t buffers_max;  // 0 = 4096
    uint32_t buffer_size;  // bytes; 0 = 4096 for io_uring, 16384 for epoll
    uint32_t spin_us;      // longest spin before sleeping; 0 = none
    int cpu;               // for messages and NUMA binding of buffers; -1 = not pinned
    struct memory *memory; // of the buffers; NULL = plain pages
    bool busy_poll;        // never sleep: look for work until the wait is over, and have the kernel poll network cards too
};

struct reactor;
struct reactor_ops;

// The part that inline functions touch. Backends embed it as their first field.
struct reactor {
    struct op *head; // submitted in this turn
    struct op **tail;
    uint64_t now_ns; // monotonic, as of the last return of reactor_turn
    int64_t wall_ms; // Unix time, likewise
    const struct reactor_ops *ops;
    struct reactor_stats stats;
    enum reactor_backend backend;
    uint32_t features; // in use
    enum reactor_ticks tick_source;
    bool waited;        // nothing was ready when the last turn began
    double ns_per_tick; // of the counter

    // Set by the owner (or NULL): "is there work that does not come from the kernel", say a message in an inbox. Asked while
    // spinning, and once more between showing `asleep` and sleeping, so that a sender who stores first and then calls
    // reactor_wake cannot be missed. Cheap, no side effects.
    bool (*pending)(void *context);
    void *pending_context;

    // Read by other threads at every message, so kept away from what this thread writes at every turn.
    uint8_t line_before[64];
    _Atomic uint32_t asleep;
    int wake_fd;
    int held_fd; // see reactor_hold; -1: none
    uint8_t line_after[64];
};

// Creates the reactor; call it in the thread that will use it. 0 or -errno; *why (static or thread-local text) then says what
// is missing, and on success why it is this backend (whose name is in `ops` and `backend`).
int reactor_open(struct reactor **out, const struct reactor_options *options, const char **why) warn_unused;
// Every op must be idle.
struct reactor *reactor_close_all(struct reactor *r);

// Orders "store the message, look at asleep" against "show asleep, look for messages". ThreadSanitizer has no model of fences,
// which is right here: what the messages carry is ordered by the inbox itself.
static inline void reactor_fence(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif
    atomic_thread_fence(memory_order_seq_cst);
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

static inline void reactor_submit(struct reactor *r, struct op *op)
{
    assert(op->state == OP_IDLE && op->kind != OP_NONE);
    op->state = OP_QUEUED;
    op->next = NULL;
    *r->tail = op;
    r->tail = &op->next;
}

// One pass: submits what was queued, takes what is ready. Waits at most `wait_ns` when nothing is ready (0 = do not wait; spins
// first for as long as the options say, and shows `asleep` to reactor_wake while it really sleeps). Returns how many completions
// `*out` holds; they are the caller's to read until the next call, and their buffers until returned.
uint32_t reactor_turn(struct reactor *r, uint64_t wait_ns, const struct completion **out);

void reactor_buffer_return(struct reactor *r, uint16_t buffer);

void reactor_wake_asleep(struct reactor *target, struct reactor *from);

// Any thread: ends the target's sleep if it sleeps (a fence and one relaxed load when it does not). `from`: the calling reactor
// or NULL. Store first what the target's `pending` looks at, then call this.
static inline void reactor_wake(struct reactor *target, struct reactor *from)
{
    reactor_fence();
    if (unlikely(atomic_load_explicit(&target->asleep, memory_order_relaxed) != 0))
        reactor_wake_asleep(target, from);
}

// Registers `count` buffers for OP_READ / OP_WRITE with fixed_buffer; once per reactor. -errno: go on without (fixed_buffer = -1).
int reactor_register_buffers(struct reactor *r, const struct slice *buffers, uint32_t count) warn_unused;

// Keeps the open file description of `fd` (a lock) alive for as long as this reactor may still write, also beyond a kill -9: the kernel
// goes on with what was submitted, and io_uring gives back what is registered with it only then. Once per reactor; closing `fd` does
// not end it, closing the reactor does. 0 or -errno.
int reactor_hold(struct reactor *r, int fd) warn_unused;

// Closes a descriptor that has no op in flight.
void reactor_close(struct reactor *r, int fd);

// Sends FIN and ends what is in flight on a socket: its receives complete with 0, its sends with an error.
void reactor_shutdown(struct reactor *r, int fd);
// A few bytes to a connection that is about to be closed; what the socket does not take at once is lost.
void reactor_send_now(struct reactor *r, int fd, struct slice bytes);
// Peer's and own address as text, "" when unknown. `size`: of each.
void reactor_names(struct reactor *r, int fd, char *peer, char *own, size_t size);
