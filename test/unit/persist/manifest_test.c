// SPDX-License-Identifier: Apache-2.0
#include "persist/manifest.h"

#include <errno.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/prng.h"
#include "base/test.h"

static struct manifest example(uint64_t generation)
{
    struct manifest m = {
        .generation = generation,
        .store = { { 1, 2, 3 } },
        .history = { { 9, 8, 7 } },
        .shards = 16,
        .flags = MANIFEST_LOG,
        .first_segment = 7,
        .witness = 1234,
        .segment_size = 1 << 20,
        .route_mode = 1,
        .set_count = 2,
        .hidden_segment = 55,
        .sets = { { .id = 5, .lsn = 1000, .files = 2, .bytes = 77, .made_ms = -3, .entries = 99 },
                  { .id = 3, .lsn = 500, .files = 1, .bytes = 44, .made_ms = 12, .entries = 11 } },
    };
    return m;
}

static void reseal(uint8_t *block)
{
    store_u32(block + 12, 0);
    store_u32(block + 12, crc32c(0, block, BLOCK_SIZE));
}

static bool same(const struct manifest *a, const struct manifest *b)
{
    uint8_t x[BLOCK_SIZE], y[BLOCK_SIZE];
    manifest_encode(a, x);
    manifest_encode(b, y);
    return memcmp(x, y, BLOCK_SIZE) == 0;
}

static void what_was_written_is_read_back(void)
{
    uint8_t block[BLOCK_SIZE];
    const char *why;
    for (uint32_t sets = 0; sets <= MANIFEST_SETS; sets++) {
        struct manifest m = example(3), back;
        m.set_count = sets;
        for (uint32_t i = 0; i < sets; i++)
            m.sets[i] = (struct snapshot_set){ .id = 10 - i, .lsn = i, .files = i + 1, .bytes = i, .made_ms = 1, .entries = 2 };
        manifest_encode(&m, block);
        check_equal(manifest_decode(&back, block, &why), 0);
        check(same(&m, &back));
        check_equal(back.set_count, sets);
        check_equal(back.witness, 1234);
        check_equal(back.hidden_segment, 55);
        check(manifest_hides(&back, 55) && manifest_hides(&back, 56) && !manifest_hides(&back, 54));
    }
}

static void the_layout_is_the_documented_one(void)
{
    uint8_t block[BLOCK_SIZE];
    struct manifest m = example(3);
    manifest_encode(&m, block);
    check(memcmp(block, "SKRYMAN1", 8) == 0);
    check_equal(load_u32(block + 8), 1);
    check_equal(load_u64(block + 16), 3);
    check_equal(block[24], 1);
    check_equal(block[40], 9);
    check_equal(load_u32(block + 56), 16);
    check_equal(load_u32(block + 60), MANIFEST_LOG);
    check_equal(load_u64(block + 64), 7);
    check_equal(load_u64(block + 72), 1234);
    check_equal(load_u64(block + 80), 1 << 20);
    check_equal(load_u32(block + 88), 1);
    check_equal(load_u32(block + 92), 2);
    check_equal(load_u64(block + 288), 55);
    check_equal(load_u64(block + 96), 5);
    check_equal(load_u64(block + 96 + 8), 1000);
    check_equal(load_u32(block + 96 + 16), 2);
    check_equal(load_u64(block + 96 + 24), 77);
    check_equal((int64_t)load_u64(block + 96 + 32), -3);
    check_equal(load_u64(block + 96 + 40), 99);
    check_equal(load_u64(block + 96 + 48), 3);
}

static void the_checksum_covers_every_bit(void)
{
    uint8_t block[BLOCK_SIZE];
    struct manifest m = example(3), back;
    const char *why;
    manifest_encode(&m, block);
    for (size_t bit = 0; bit < BLOCK_SIZE * 8; bit += bit < 4096 ? 1 : 61) {
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_equal(manifest_decode(&back, block, &why), -EBADMSG);
        check(why != NULL);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_equal(manifest_decode(&back, block, &why), 0);
}

// One that breaks a condition and nothing else: `width` bytes at `at` become `value`.
static void refuses(size_t at, int width, uint64_t value, const char *word)
{
    uint8_t block[BLOCK_SIZE];
    struct manifest m = example(3), back;
    const char *why = NULL;
    manifest_encode(&m, block);
    if (width == 1)
        block[at] = (uint8_t)value;
    else if (width == 4)
        store_u32(block + at, (uint32_t)value);
    else
        store_u64(block + at, value);
    if (at != 12)
        reseal(block);
    check_equal(manifest_decode(&back, block, &why), -EBADMSG);
    check(why != NULL && strstr(why, word) != NULL);
}

static void each_condition_is_asked_for_whatever_the_checksum_says(void)
{
    refuses(0, 1, 'X', "magic");
    refuses(8, 4, 2, "format");
    refuses(12, 4, 0, "checksum");
    refuses(16, 8, 0, "generation");
    refuses(56, 4, 0, "shard count");
    refuses(56, 4, 3, "shard count");
    refuses(56, 4, 8192, "shard count");
    refuses(80, 8, 0, "segment size");
    refuses(80, 8, (1 << 20) + 512, "segment size");
    refuses(80, 8, 3 * BLOCK_SIZE, "segment size");
    refuses(92, 4, MANIFEST_SETS + 1, "too many");
    refuses(92, 4, UINT32_MAX, "too many");
    refuses(96, 8, 0, "no id");
    refuses(96 + 16, 4, 0, "no id or no files");
    refuses(96 + 20, 4, 1, "no id or no files");
    refuses(96 + 48, 8, 5, "falling order");
    refuses(96 + 48, 8, 6, "falling order");
    refuses(92, 4, 1, "behind");
    refuses(BLOCK_SIZE - 1, 1, 1, "behind");
}

static void of_two_copies_the_newer_wins(void)
{
    uint8_t a[BLOCK_SIZE], b[BLOCK_SIZE];
    struct manifest old = example(8), new = example(9), m;
    const char *why;
    manifest_encode(&old, a);
    manifest_encode(&new, b);
    check_equal(manifest_pick(&m, a, b, &why), 0);
    check_equal(m.generation, 9);
    check(why == NULL);
    check_equal(manifest_pick(&m, b, a, &why), 0);
    check_equal(m.generation, 9);
}

static void a_torn_newer_copy_falls_back_to_the_older(void)
{
    uint8_t a[BLOCK_SIZE], b[BLOCK_SIZE], torn[BLOCK_SIZE];
    struct manifest old = example(8), new = example(9), m;
    const char *why;
    struct prng p;
    prng_init(&p, 1);
    new.witness = 99999;
    manifest_encode(&old, a);
    manifest_encode(&new, b);
    // What lay there before: the generation before the older one, or nothing; sector by sector.
    for (int round = 0; round < 300; round++) {
        for (size_t sector = 0; sector < BLOCK_SIZE / 512; sector++) {
            uint64_t kind = prng_below(&p, 3);
            for (size_t i = 0; i < 512; i++) {
                uint8_t was = round % 2 == 0 ? 0 : (uint8_t)(sector == 0 ? a[i] ^ 1 : 0);
                torn[sector * 512 + i] = kind == 0 ? b[sector * 512 + i] : kind == 1 ? was : (uint8_t)prng_next(&p);
            }
        }
        check_equal(manifest_pick(&m, a, torn, &why), 0);
        bool whole = memcmp(torn, b, BLOCK_SIZE) == 0;
        check_equal(m.generation, whole ? 9 : 8);
        check((why == NULL) == whole);
    }
}

static void a_copy_may_be_missing(void)
{
    uint8_t a[BLOCK_SIZE], broken[BLOCK_SIZE];
    struct manifest old = example(8), m;
    const char *why;
    manifest_encode(&old, a);
    memcpy(broken, a, BLOCK_SIZE);
    broken[100] ^= 1;
    check_equal(manifest_pick(&m, a, NULL, &why), 0);
    check_equal(m.generation, 8);
    check_equal(manifest_pick(&m, NULL, a, &why), 0);
    check_equal(m.generation, 8);
    check_equal(manifest_pick(&m, NULL, NULL, &why), 1);
    check(why == NULL);
    check_equal(manifest_pick(&m, broken, NULL, &why), -EBADMSG);
    check(why != NULL);
    check_equal(manifest_pick(&m, broken, broken, &why), -EBADMSG);
}

static void two_generations_that_follow_each_other_never_share_a_name(void)
{
    for (uint64_t g = 0; g < 8; g++)
        check(strcmp(manifest_name(g), manifest_name(g + 1)) != 0 && strcmp(manifest_name(g), manifest_name(g + 2)) == 0);
    check(strcmp(manifest_name(1), "MANIFEST.b") == 0);
}

TESTS(TEST(what_was_written_is_read_back), TEST(the_layout_is_the_documented_one), TEST(the_checksum_covers_every_bit),
      TEST(each_condition_is_asked_for_whatever_the_checksum_says), TEST(of_two_copies_the_newer_wins),
      TEST(a_torn_newer_copy_falls_back_to_the_older), TEST(a_copy_may_be_missing),
      TEST(two_generations_that_follow_each_other_never_share_a_name))
