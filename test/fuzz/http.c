// SPDX-License-Identifier: Apache-2.0
// Heads of HTTP requests, whole and byte by byte: what is understood lies inside, and more bytes never make a finished head different.
#include <stdint.h>
#include <stdlib.h>

#include "proto/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool inside(struct slice part, const uint8_t *data, size_t size)
{
    return part.len == 0 || (part.data >= data && part.data + part.len <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http_request first = { .status = 0 }, again;
    size_t ready = 0;
    for (size_t len = 0; len <= size && ready == 0; len++)
        if (http_parse(slice_of(data, len), &first) == HTTP_READY)
            ready = len;
    enum http_result whole = http_parse(slice_of(data, size), &again);
    if (!inside(again.method, data, size) || !inside(again.path, data, size))
        abort();
    if ((ready > 0) != (whole == HTTP_READY))
        abort();
    if (ready > 0 && (again.status != first.status || !slice_equal(again.path, first.path)) && again.status != 431 && first.status != 431)
        abort();
    return 0;
}
