// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "reactor/disk.h"

#define PAGE      4096u
#define HUGE_PAGE (2u << 20)

// A write of a huge page's memory is one piece for the kernel instead of 512.
static size_t align_of(size_t len)
{
    return len >= HUGE_PAGE / 2 ? HUGE_PAGE : PAGE;
}

void *disk_memory(size_t len)
{
    size_t align = align_of(len), size = (len + align - 1) / align * align;
    void *memory = size < len || size == 0 ? NULL : aligned_alloc(align, size);
    if (memory == NULL)
        return NULL;
    if (align == HUGE_PAGE)
        (void)madvise(memory, size, MADV_HUGEPAGE);
    memset(memory, 0, size);
    return memory;
}

void disk_memory_free(void *memory, size_t len)
{
    if (memory != NULL && align_of(len) == HUGE_PAGE)
        (void)madvise(memory, (len + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE, MADV_NOHUGEPAGE); // whoever gets it next has not asked
    free(memory);
}
