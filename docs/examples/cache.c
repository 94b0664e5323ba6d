// SPDX-License-Identifier: Apache-2.0
// A cache that any thread may use: at most 64 MiB, the least useful keys go first, entries live a minute.
//
//   cc cache.c $(pkg-config --cflags --libs skerry)
#include <skerry/skerry.h>
#include <stdio.h>
#include <string.h>

static int fail(const char *what, enum skerry_status status)
{
    fprintf(stderr, "%s: %s\n", what, skerry_status_text(status));
    return 1;
}

int main(void)
{
    struct skerry_options options = skerry_options_default();
    options.memory_max = 64 << 20;
    options.policy = SKERRY_ALLKEYS_S3FIFO;

    struct skerry *cache;
    enum skerry_status status = skerry_open(&cache, &options);
    if (status != SKERRY_OK)
        return fail("open", status);

    status = skerry_set(cache, "user:42", 7, "Ada", 3, 60000);
    if (status != SKERRY_OK)
        return fail("set", status);

    // Into a buffer of ours...
    char name[32];
    size_t len;
    status = skerry_get(cache, "user:42", 7, name, sizeof name, &len);
    if (status != SKERRY_OK)
        return fail("get", status);
    printf("user 42 is %.*s\n", (int)len, name);

    // ... or in place, without a copy.
    struct skerry_view view;
    if (skerry_get_view(cache, "user:42", 7, &view) == SKERRY_OK) {
        printf("in place: %.*s\n", (int)view.len, (const char *)view.data);
        skerry_release(cache, &view);
    }

    // Several at once: their memory is fetched together.
    struct skerry_op ops[2];
    memset(ops, 0, sizeof ops);
    ops[0].kind = SKERRY_OP_INCR;
    ops[0].key = (struct skerry_slice){ "visits", 6 };
    ops[0].number = 1;
    ops[1].kind = SKERRY_OP_EXISTS;
    ops[1].key = (struct skerry_slice){ "user:43", 7 };
    skerry_batch(cache, ops, 2);
    printf("visits: %lld, user 43: %s\n", (long long)ops[0].number, skerry_status_text(ops[1].status));

    // Now and then: half a millisecond of housekeeping.
    skerry_maintain(cache, 500, NULL);
    return skerry_close(cache) == SKERRY_OK ? 0 : 1;
}
