// SPDX-License-Identifier: Apache-2.0
// Areas are anonymous private mappings. Those aligned to a huge page may be made of them: what is touched here and there only would
// waste them.
//
// Failure modes: no reserved huge pages left -> transparent ones; no room to grow in place -> mremap moves the area (page tables
// only, nothing is copied); binding to a node fails -> pages come from wherever, which is slower, not wrong.
#include "reactor/memory.h"
#include "reactor/memory_ahead.h"

#include <numa.h>
#include <numaif.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "reactor/sanitize.h"

#define PAGE      ((size_t)4096)
#define HUGE_PAGE MEMORY_HUGE
#define NODES_MAX 64

struct system_memory {
    struct memory memory;
    int node;
    enum memory_hugepages huge;
};

int memory_node_count(void)
{
    return numa_available() < 0 ? 1 : numa_num_configured_nodes();
}

static void bind_to_node(void *area, size_t size, int node)
{
    if (node < 0 || node >= NODES_MAX || memory_node_count() < 2)
        return;
    unsigned long mask = 1UL << node;
    // MPOL_PREFERRED: a full node gives remote pages instead of a dead process.
    (void)mbind(area, size, MPOL_PREFERRED, &mask, NODES_MAX + 1, 0);
}

// Maps `size` bytes aligned to `align` by mapping more and giving back both ends.
static void *map_aligned(size_t size, size_t align, int extra_flags)
{
    size_t slack = align > PAGE ? align : 0;
    uint64_t total;
    if (!size_add(size, slack, &total))
        return NULL;
    uint8_t *raw = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | extra_flags, -1, 0);
    if (raw == MAP_FAILED)
        return NULL;
    if (slack == 0)
        return raw;
    size_t before = (align - ((uintptr_t)raw & (align - 1))) & (align - 1);
    if (before > 0)
        munmap(raw, before);
    if (slack > before)
        munmap(raw + before + size, slack - before);
    return raw + before;
}

static bool wants_huge(const struct system_memory *m, size_t size)
{
    return m->huge != MEMORY_HUGE_OFF && size >= HUGE_PAGE;
}

// Reserved huge pages hold whole huge pages only, and cannot be resized in place; so only for areas that are made of them.
static void *map_reserved_huge(size_t size, size_t align)
{
    if (size % HUGE_PAGE != 0 || align > HUGE_PAGE)
        return NULL;
    void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    return area == MAP_FAILED ? NULL : area;
}

static void *system_reserve(struct memory *memory, size_t size, size_t align)
{
    struct system_memory *m = (struct system_memory *)memory;
    assert(is_power_of_two(align) && align >= PAGE);
    size = round_up(size, PAGE);
    void *area = NULL;
    if (m->huge == MEMORY_HUGE_TLB && size > 0 && align >= HUGE_PAGE)
        area = map_reserved_huge(size, align);
    if (area == NULL) {
        bool huge = wants_huge(m, size) && align >= HUGE_PAGE;
        area = map_aligned(size, align, 0);
        if (area == NULL)
            return NULL;
        if (huge)
            (void)madvise(area, size, MADV_HUGEPAGE);
    }
    bind_to_node(area, size, m->node);
    return area;
}

static void *system_resize(struct memory *memory, void *area, size_t old_size, size_t new_size)
{
    struct system_memory *m = (struct system_memory *)memory;
    old_size = round_up(old_size, PAGE);
    new_size = round_up(new_size, PAGE);
    if (old_size == new_size)
        return area;
    void *moved = SANITIZE_MOVES ? mremap(area, old_size, new_size, MREMAP_MAYMOVE) : MAP_FAILED;
    if (moved != MAP_FAILED) {
        if (wants_huge(m, new_size))
            (void)madvise(moved, new_size, MADV_HUGEPAGE);
        return moved;
    }
    // Areas of reserved huge pages do not grow: a new one and a copy.
    moved = system_reserve(memory, new_size, PAGE);
    if (moved == NULL)
        return NULL;
    memcpy(moved, area, old_size < new_size ? old_size : new_size);
    munmap(area, old_size);
    return moved;
}

static void system_discard(struct memory *memory, void *area, size_t size)
{
    if (madvise(area, size, MADV_DONTNEED) != 0)
        memset(area, 0, size);
}

static void system_release(struct memory *memory, void *area, size_t size)
{
    if (area == NULL)
        return;
    memory_ahead_cancel(area, size);
    munmap(area, round_up(size, PAGE));
}

static bool system_prepare(struct memory *memory, void *area, size_t size)
{
    return memory_ahead(area, size);
}

static struct system_memory sources[NODES_MAX + 1][MEMORY_HUGE_TLB + 1];

static void sources_init(void)
{
    for (int node = -1; node < NODES_MAX; node++) {
        for (int huge = MEMORY_HUGE_OFF; huge <= MEMORY_HUGE_TLB; huge++) {
            sources[node + 1][huge] = (struct system_memory){
                .memory = { .reserve = system_reserve,
                            .resize = system_resize,
                            .discard = system_discard,
                            .release = system_release,
                            .prepare = system_prepare,
                            .huge = huge != MEMORY_HUGE_OFF },
                .node = node,
                .huge = (enum memory_hugepages)huge,
            };
        }
    }
}

struct memory *memory_system(int numa_node, enum memory_hugepages hugepages)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, sources_init);
    if (numa_node < 0 || numa_node >= NODES_MAX)
        numa_node = -1;
    return &sources[numa_node + 1][hugepages].memory;
}
