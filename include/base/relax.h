// SPDX-License-Identifier: Apache-2.0
// What cores want to be told in words of their own.
#pragma once

#include <stdatomic.h>

// Behind a sequentially consistent read-modify-write: nothing that follows is done before its store is seen. On x86 the instruction
// does that itself; elsewhere a load may pass the store.
static inline void fence_behind_rmw(void)
{
#if defined(__x86_64__)
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

// The core spins.
static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
