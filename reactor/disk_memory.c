// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "reactor/disk.h"

#define PAGE 4096u

void *disk_memory(size_t len)
{
    size_t size = (len + PAGE - 1) / PAGE * PAGE;
    void *memory = size < len || size == 0 ? NULL : aligned_alloc(PAGE, size);
    if (memory != NULL)
        memset(memory, 0, size);
    return memory;
}

void disk_memory_free(void *memory, size_t len)
{
    (void)len;
    free(memory);
}
