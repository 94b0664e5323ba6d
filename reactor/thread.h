// SPDX-License-Identifier: Apache-2.0
// Threads bound to a core, and what the machine's cores are.
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

typedef void thread_fn(void *arg);

// Stays where it is until thread_join.
struct thread {
    pthread_t id;
    thread_fn *run;
    void *arg;
    int cpu;
    char name[16];
};

// `cpu` -1: not bound. `name` is cut to 15 bytes. The thread takes no signals: they are for the main thread. 0 or -errno.
int thread_start(struct thread *t, const char *name, int cpu, thread_fn *run, void *arg) warn_unused;
void thread_join(struct thread *t);

// Binds the calling thread. 0 or -errno.
int thread_pin_self(int cpu) warn_unused;

#define THREAD_CPUS_MAX 1024

// The cores this process may use, ascending; returns how many there are (written are at most `max`).
int thread_allowed_cpus(int *cpus, int max);
// The NUMA node of a core; -1 on machines with one node.
int thread_node_of_cpu(int cpu);
