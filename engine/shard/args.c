// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/args.h"

#include <stdlib.h>
#include <string.h>

bool args_copy(struct args *a, const struct slice *argv, uint32_t argc, struct blob **blobs, uint32_t blobs_cap)
{
    size_t size = argc * (sizeof *a->argv + sizeof *a->blobs);
    for (uint32_t i = 0; i < argc; i++)
        size += i < blobs_cap && blobs[i] != NULL ? 0 : argv[i].len;
    uint8_t *memory = malloc(size);
    if (memory == NULL)
        return false;
    *a = (struct args){ .argc = argc, .argv = (struct slice *)(void *)memory, .bytes = size };
    a->blobs = (struct blob **)(void *)(a->argv + argc);
    uint8_t *to = (uint8_t *)(a->blobs + argc);
    for (uint32_t i = 0; i < argc; i++) {
        a->blobs[i] = i < blobs_cap ? blobs[i] : NULL;
        if (a->blobs[i] != NULL) {
            blobs[i] = NULL;
            a->argv[i] = slice_of(a->blobs[i]->data, argv[i].len);
            a->bytes += argv[i].len;
            continue;
        }
        if (argv[i].len > 0)
            memcpy(to, argv[i].data, argv[i].len);
        a->argv[i] = slice_of(to, argv[i].len);
        to += argv[i].len;
    }
    return true;
}

void args_deinit(struct args *a)
{
    for (uint32_t i = 0; i < a->argc; i++)
        if (a->blobs[i] != NULL)
            blob_free(a->blobs[i]);
    free(a->argv);
    *a = (struct args){ .argc = 0 };
}
