// SPDX-License-Identifier: Apache-2.0
// Operations on a keyspace, chosen byte by byte, beside the plain map of the unit tests.
#include <stdint.h>
#include <stdlib.h>

#include "test/unit/store/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model m;
    if (size < 3)
        return 0;
    struct store_options o = { .workers = 1, .databases = 1, .public_hash = data[0] % 2 == 1 };
    static const enum store_policy POLICIES[] = { STORE_NOEVICTION, STORE_ALLKEYS_LFU, STORE_ALLKEYS_S3FIFO, STORE_VOLATILE_S3FIFO };
    o.policy = POLICIES[data[0] / 2 % 4];
    o.memory_max = data[0] / 8 % 2 == 0 ? 0 : UINT64_C(100) << 10;
    if (model_start(&m, 1, &o) != 0)
        return 0;
    m.evicts = o.memory_max != 0;
    m.keys = 2 + data[1] % 200u;
    m.value_max = data[2];
    test_failures = 0;
    // Four bytes choose an operation with its key and lengths: the seed of everything it draws.
    for (size_t i = 3; i + 4 <= size && i < 8192; i += 4) {
        prng_init(&m.prng, load_u32(data + i));
        model_step(&m);
    }
    model_check(&m);
    model_stop(&m);
    if (test_failures > 0)
        abort();
    return 0;
}
