// SPDX-License-Identifier: Apache-2.0
// One request as the engine sees it, whatever protocol it came in.
#pragma once

#include <stdint.h>

#include "base/slice.h"

enum protocol { PROTOCOL_RESP2 = 2, PROTOCOL_RESP3 = 3, PROTOCOL_FCNP = 4 };

// argv[0] is the command's name. All slices are views: into the receive buffer, the connection's carry buffer or a blob.
struct request {
    uint32_t argc;
    const struct slice *argv;
};
