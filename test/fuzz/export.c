// SPDX-License-Identifier: Apache-2.0
// What a subscriber of the live export sends first, as it comes: more bytes never change a verdict, and only the right token opens.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "replica/export.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct slice TOKEN = { (const uint8_t *)"to", 2 };
    enum export_auth first = EXPORT_AUTH_MORE;
    for (size_t len = 0; len <= size; len++) {
        enum export_auth now = export_auth_check(slice_of(data, len), TOKEN);
        if (first != EXPORT_AUTH_MORE && now != first)
            abort();
        first = now;
    }
    if ((first == EXPORT_AUTH_V1 || first == EXPORT_AUTH_V2) &&
        (size < 16 || memcmp(data, "FCWAL-AUTH/", 11) != 0 || memcmp(data + 13, "to", 2) != 0))
        abort();
    return 0;
}
