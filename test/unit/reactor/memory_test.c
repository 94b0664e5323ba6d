// SPDX-License-Identifier: Apache-2.0
#include "reactor/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/test.h"
#include "reactor/memory_ahead.h"

#define SIZE ((size_t)8 << 20)

static size_t resident(uint8_t *area)
{
    static unsigned char pages[SIZE / 4096];
    size_t count = 0;
    check_equal(mincore(area, SIZE, pages), 0);
    for (size_t i = 0; i < SIZE / 4096; i++)
        count += pages[i] & 1;
    return count;
}

static bool kernel_populates(struct memory *m)
{
    uint8_t *area = m->reserve(m, 4096, 4096);
    bool can = madvise(area, 4096, 23 /* MADV_POPULATE_WRITE */) == 0;
    m->release(m, area, 4096);
    return can;
}

static void pages_that_were_asked_for_come_without_a_write(void)
{
    struct memory *m = memory_system(-1, MEMORY_HUGE_OFF);
    uint8_t *area = m->reserve(m, SIZE, 4096);
    check(area != NULL && resident(area) == 0);
    check(!m->prepare(m, area, SIZE)); // nobody has started the thread
    check_equal(memory_ahead_start(), 0);
    check_equal(memory_ahead_start(), 0);
    memset(area, 7, 4096); // what is there already stays as it is
    check(m->prepare(m, area, SIZE));
    for (int i = 0; kernel_populates(m) && i < 30000 && resident(area) < SIZE / 4096; i++)
        usleep(1000);
    check(!kernel_populates(m) || resident(area) == SIZE / 4096);
    check(area[0] == 7 && area[4095] == 7 && area[4096] == 0 && area[SIZE - 1] == 0);
    m->release(m, area, SIZE);
}

static void areas_may_go_while_their_pages_come(void)
{
    struct memory *m = memory_system(-1, MEMORY_HUGE_OFF);
    check_equal(memory_ahead_start(), 0);
    for (int i = 0; i < 300; i++) {
        uint8_t *area = m->reserve(m, SIZE, 4096);
        check(area != NULL);
        for (int part = 0; part < 5; part++) // more than there are places for, in the end
            (void)m->prepare(m, area, SIZE);
        area[i] = 1;
        m->release(m, area, SIZE);
    }
}

static void discarded_pages_read_as_zero(void)
{
    struct memory *m = memory_system(-1, MEMORY_HUGE_THP);
    uint8_t *area = m->reserve(m, SIZE, 2 << 20);
    check(area != NULL && (uintptr_t)area % (2u << 20) == 0);
    memset(area, 1, SIZE);
    m->discard(m, area + 65536, 65536);
    check(area[65535] == 1 && area[65536] == 0 && area[131071] == 0 && area[131072] == 1);
    m->release(m, area, SIZE);
}

TESTS(TEST(pages_that_were_asked_for_come_without_a_write), TEST(areas_may_go_while_their_pages_come), TEST(discarded_pages_read_as_zero))
