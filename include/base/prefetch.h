// SPDX-License-Identifier: Apache-2.0
// Asks for a cache line that will be read soon.
//
// The empty assembly keeps the caller: GCC takes a function whose only effect is a prefetch for a pure one, and with link-time
// optimisation it drops the calls (measured: GET at pipeline 64 went from 0.27 to 0.50 us of CPU).
#pragma once

static inline void prefetch(const void *line)
{
    __builtin_prefetch(line);
    __asm__ volatile("");
}
