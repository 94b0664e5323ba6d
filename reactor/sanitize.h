// SPDX-License-Identifier: Apache-2.0
// What the kernel does to memory, told to AddressSanitizer, which cannot see it. Without the sanitizer all of this is nothing.
//
//   submit     a buffer given to the kernel must be alive: checked before the kernel writes to it
//   in flight  a buffer that the kernel may write is poisoned: nobody else has business there
//   complete   it is readable again
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#if defined(__has_feature)
#define SANITIZE_FEATURE(x) __has_feature(x)
#else
#define SANITIZE_FEATURE(x) 0
#endif

// ThreadSanitizer does not see that mremap gives the old addresses back, and takes their next user for somebody who shares them.
#if defined(__SANITIZE_THREAD__) || SANITIZE_FEATURE(thread_sanitizer)
#define SANITIZE_MOVES 0
#else
#define SANITIZE_MOVES 1
#endif

#if defined(__SANITIZE_ADDRESS__) || SANITIZE_FEATURE(address_sanitizer)

#include <sanitizer/asan_interface.h>

static inline void sanitize_check(const void *data, size_t len)
{
    assert(__asan_region_is_poisoned((void *)(uintptr_t)data, len) == NULL);
}

static inline void sanitize_hide(const void *data, size_t len)
{
    ASAN_POISON_MEMORY_REGION(data, len);
}

static inline void sanitize_show(const void *data, size_t len)
{
    ASAN_UNPOISON_MEMORY_REGION(data, len);
}

#else

static inline void sanitize_check(const void *data, size_t len)
{
}

static inline void sanitize_hide(const void *data, size_t len)
{
}

static inline void sanitize_show(const void *data, size_t len)
{
}

#endif
