// SPDX-License-Identifier: Apache-2.0
// What a process has used so far, read from /proc/PID/task/*: all threads, those that ended in between are lost.
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct server_cpu {
    uint64_t run_ns;    // time on a CPU, exact (schedstat); from the ticks below where the kernel has no schedstat
    uint64_t user_ns;   // in steps of a tick (10 ms)
    uint64_t system_ns; // the same
    uint64_t voluntary_switches;
    uint64_t involuntary_switches;
    uint32_t threads;
};

// 0 or -errno: -ENOENT when there is no such process.
int server_cpu_read(pid_t pid, struct server_cpu *out);
