// SPDX-License-Identifier: Apache-2.0
// Three kinds of claims about our own code; never about bytes from a disk, a peer or a client.
//
//   assert(x)         cheap, stays in release builds
//   audit(x)          walks a structure: only where meson sets SKERRY_AUDIT (debug, sanitizer and simulation builds)
//   static_assert(x)  beside every layout that disk, wire or a cache line depends on
#pragma once

#ifdef NDEBUG
#error "assertions stay on: build with b_ndebug=false"
#endif

#include <assert.h>

#if SKERRY_AUDIT
#define audit(x) assert(x)
#else
#define audit(x) ((void)sizeof(x))
#endif

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define warn_unused              __attribute__((warn_unused_result))
#define cold                     __attribute__((__cold__))
#define printf_like(text, first) __attribute__((__format__(__printf__, text, first)))
