// SPDX-License-Identifier: Apache-2.0
#include "engine/store/route.h"

#include <string.h>

struct slice route_session_prefix(struct slice key)
{
    if (key.len < 2 || memcmp(key.data, "s:", 2) != 0)
        return key;
    for (size_t at = key.len; at >= 3; at--) {
        if (memcmp(key.data + at - 3, ":c:", 3) == 0)
            return slice_of(key.data, at - 3);
    }
    return key;
}
