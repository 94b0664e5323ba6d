// SPDX-License-Identifier: Apache-2.0
#include "reactor/entropy.h"

#include <errno.h>
#include <sys/random.h>
#include <sys/types.h>

#include "base/assert.h"

void entropy_fill(void *to, size_t size)
{
    uint8_t *p = to;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        assert(n > 0);
        p += n;
        size -= (size_t)n;
    }
}

uint64_t entropy_u64(void)
{
    uint64_t value;
    entropy_fill(&value, sizeof value);
    return value;
}
