// SPDX-License-Identifier: Apache-2.0
// What programs that run the store alone need beside it: keys from numbers, the process' resident size.
#pragma once

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/slice.h"

#define KEY_LEN 16

static inline struct slice key_of(uint64_t id, uint8_t *bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (int i = 0; i < KEY_LEN; i++)
        bytes[i] = (uint8_t)DIGITS[id >> (60 - 4 * i) & 15];
    return slice_of(bytes, KEY_LEN);
}

static inline uint64_t resident_bytes(void)
{
    char text[128] = { 0 };
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    unsigned long long size = 0, resident = 0;
    if (n <= 0 || sscanf(text, "%llu %llu", &size, &resident) != 2)
        return 0;
    return resident * 4096;
}
