// SPDX-License-Identifier: Apache-2.0
// In a child after fork there is no thread: requests fill the places and are dropped.
#include "reactor/memory_ahead.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reactor/thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define PLACES 32u
#define PIECE  ((size_t)2 << 20) // the kernel holds the address space for reading as long as one takes

struct request {
    uintptr_t at;
    size_t size;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t asked;
    struct thread thread;
    struct request requests[PLACES]; // [first, end) modulo PLACES
    uint32_t first, end;
    atomic_uint waiting; // end - first, for whoever only wants to know whether there is anything
    atomic_bool runs;
} ahead = { .mutex = PTHREAD_MUTEX_INITIALIZER, .asked = PTHREAD_COND_INITIALIZER };

static void count(void)
{
    atomic_store_explicit(&ahead.waiting, ahead.end - ahead.first, memory_order_relaxed);
}

static struct request take(void)
{
    pthread_mutex_lock(&ahead.mutex);
    while (ahead.first == ahead.end)
        pthread_cond_wait(&ahead.asked, &ahead.mutex);
    struct request r = ahead.requests[ahead.first++ % PLACES];
    count();
    pthread_mutex_unlock(&ahead.mutex);
    return r;
}

static void run(void *arg)
{
    // Whoever started us may be bound to a core; the process is what we may use.
    cpu_set_t allowed;
    if (sched_getaffinity(getpid(), sizeof allowed, &allowed) == 0)
        (void)sched_setaffinity(0, sizeof allowed, &allowed);
    for (;;) {
        struct request r = take();
        for (size_t done = 0; done < r.size; done += PIECE) {
            size_t piece = r.size - done < PIECE ? r.size - done : PIECE;
            if (madvise((void *)(r.at + done), piece, MADV_POPULATE_WRITE) != 0) // NOLINT: an address
                break;
        }
    }
}

int memory_ahead_start(void)
{
    if (atomic_load(&ahead.runs))
        return 0;
    int failed = thread_start(&ahead.thread, "skerry-pages", -1, run, NULL);
    if (failed == 0)
        atomic_store(&ahead.runs, true);
    return failed;
}

bool memory_ahead(void *area, size_t size)
{
    if (!atomic_load_explicit(&ahead.runs, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&ahead.mutex);
    bool room = ahead.end - ahead.first < PLACES;
    if (room) {
        ahead.requests[ahead.end++ % PLACES] = (struct request){ .at = (uintptr_t)area, .size = size };
        count();
        pthread_cond_signal(&ahead.asked);
    }
    pthread_mutex_unlock(&ahead.mutex);
    return room;
}

void memory_ahead_cancel(const void *area, size_t size)
{
    if (atomic_load_explicit(&ahead.waiting, memory_order_relaxed) == 0)
        return;
    uintptr_t begin = (uintptr_t)area, end = begin + size;
    pthread_mutex_lock(&ahead.mutex);
    uint32_t kept = ahead.first;
    for (uint32_t i = ahead.first; i != ahead.end; i++) {
        struct request r = ahead.requests[i % PLACES];
        if (r.at >= end || r.at + r.size <= begin)
            ahead.requests[kept++ % PLACES] = r;
    }
    ahead.end = kept;
    count();
    pthread_mutex_unlock(&ahead.mutex);
}
