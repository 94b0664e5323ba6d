// SPDX-License-Identifier: Apache-2.0
// Tells the core that it spins.
#pragma once

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
