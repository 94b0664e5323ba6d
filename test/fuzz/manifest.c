// SPDX-License-Identifier: Apache-2.0
// Manifests: what decodes encodes to the same bytes, and of two copies none is taken that does not decode. The checksum is put right
// for half of the inputs: it protects from accidents, not from people.
#include <stdlib.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "persist/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(uint8_t *block, const uint8_t *data, size_t size)
{
    static const struct manifest GOOD = {
        .generation = 1, .shards = 8, .segment_size = 65536, .set_count = 1, .sets = { { .id = 1, .files = 1 } }
    };
    manifest_encode(&GOOD, block);
    for (size_t i = 0; i + 3 <= size; i += 3) // position and byte
        block[load_u16(data + i) % BLOCK_SIZE] = data[i + 2];
    if (size % 2 == 0) {
        store_u32(block + 12, 0);
        store_u32(block + 12, crc32c(0, block, BLOCK_SIZE));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *a = malloc(BLOCK_SIZE), *b = malloc(BLOCK_SIZE), again[BLOCK_SIZE];
    const char *why;
    struct manifest m, picked;
    assert(a != NULL && b != NULL);
    fill(a, data, size / 2);
    fill(b, data + size / 2, size - size / 2);
    bool good_a = manifest_decode(&m, a, &why) == 0;
    assert(good_a == (why == NULL));
    if (good_a) {
        manifest_encode(&m, again);
        assert(memcmp(a, again, BLOCK_SIZE) == 0);
    }
    bool good_b = manifest_decode(&m, b, &why) == 0;
    int rc = manifest_pick(&picked, a, b, &why);
    assert((rc == 0) == (good_a || good_b));
    if (rc == 0) {
        manifest_encode(&picked, again);
        assert((good_a && memcmp(a, again, BLOCK_SIZE) == 0) || (good_b && memcmp(b, again, BLOCK_SIZE) == 0));
    }
    free(a);
    free(b);
    return 0;
}
