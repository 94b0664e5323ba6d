// SPDX-License-Identifier: Apache-2.0
// Pages from the kernel, on huge pages and near a core where that is possible (base/memory.h is the door that others use).
#pragma once

#include "base/assert.h"
#include "base/memory.h"

enum memory_hugepages {
    MEMORY_HUGE_OFF, // 4 KiB pages
    MEMORY_HUGE_THP, // transparent huge pages
    MEMORY_HUGE_TLB, // reserved huge pages (vm.nr_hugepages), transparent ones when those run out
};

// `numa_node` -1: wherever. Sources are shared and never freed; one per combination, any thread may use it.
struct memory *memory_system(int numa_node, enum memory_hugepages hugepages);

// Nodes with memory, at least 1.
int memory_node_count(void);
