// SPDX-License-Identifier: Apache-2.0
#include "reactor/thread.h"

#include <errno.h>
#include <numa.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "reactor/memory.h"

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    pthread_setname_np(pthread_self(), t->name);
    t->run(t->arg);
    return NULL;
}

static int start(struct thread *t, pthread_attr_t *attributes)
{
    if (t->cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)t->cpu, &set);
        int err = pthread_attr_setaffinity_np(attributes, sizeof set, &set);
        if (err != 0)
            return -err;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&t->id, attributes, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
}

int thread_start(struct thread *t, const char *name, int cpu, thread_fn *run, void *arg)
{
    if (cpu >= THREAD_CPUS_MAX)
        return -EINVAL;
    *t = (struct thread){ .run = run, .arg = arg, .cpu = cpu };
    snprintf(t->name, sizeof t->name, "%.15s", name);
    pthread_attr_t attributes;
    int err = pthread_attr_init(&attributes);
    if (err != 0)
        return -err;
    err = start(t, &attributes);
    pthread_attr_destroy(&attributes);
    return err;
}

void thread_join(struct thread *t)
{
    int err = pthread_join(t->id, NULL);
    assert(err == 0);
}

int thread_pin_self(int cpu)
{
    if (cpu < 0 || cpu >= THREAD_CPUS_MAX)
        return -EINVAL;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return -pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

int thread_allowed_cpus(int *cpus, int max)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 0;
    int count = 0;
    for (int cpu = 0; cpu < THREAD_CPUS_MAX; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &set))
            continue;
        if (count < max)
            cpus[count] = cpu;
        count++;
    }
    return count;
}

int thread_node_of_cpu(int cpu)
{
    if (memory_node_count() < 2)
        return -1;
    return numa_node_of_cpu(cpu);
}
