// SPDX-License-Identifier: Apache-2.0
// File operations for the epoll backend: epoll knows nothing of files, so one thread per reactor, started by the first such op,
// does them one after the other.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "reactor/op_queue.h"
#include "reactor/thread.h"

struct epoll_files {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct op_queue queue; // under lock
    struct op_queue done;  // under lock; results in op->backend
    struct op *running;    // under lock
    bool stopping;         // under lock
    _Atomic bool done_any; // something is in `done`
    bool started;          // the reactor's thread alone
    struct thread thread;
    struct reactor *reactor; // to be woken
};

void epoll_files_init(struct epoll_files *f, struct reactor *r);
// Waits for the op that runs; the queue must be empty.
void epoll_files_deinit(struct epoll_files *f);
// Takes the op over; ops with OP_LINK are followed by the rest of their chain. 0, or -errno when there is no thread.
int epoll_files_add(struct epoll_files *f, struct op *op) warn_unused;
// 0: it will end with -ECANCELED; -EALREADY: it runs and will end by itself.
int epoll_files_cancel(struct epoll_files *f, struct op *op);
// What is done since the last call, linked by next, results in op->backend.
struct op *epoll_files_take(struct epoll_files *f);

static inline bool epoll_files_done(const struct epoll_files *f)
{
    return atomic_load_explicit(&f->done_any, memory_order_acquire);
}
