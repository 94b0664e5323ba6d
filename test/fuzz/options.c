// SPDX-License-Identifier: Apache-2.0
// Configuration files of any bytes: refused with a reason, or rewritten into a file that says the same.
#include <stdlib.h>

#include "engine/shard/options.h"

static void check_rewrite(const struct options *o, struct slice text)
{
    char error[OPTIONS_ERROR_MAX];
    struct buf once, twice;
    struct options again;
    buf_init(&once, BUF_NO_LIMIT);
    buf_init(&twice, BUF_NO_LIMIT);
    options_init(&again);
    options_rewrite(o, text, &once);
    if (options_load(&again, "again", buf_view(&once), error) != 0)
        abort();
    for (uint32_t i = 0; i < options_count(); i++)
        if (!option_equal(o, &again, option_at(i)))
            abort();
    options_rewrite(&again, buf_view(&once), &twice);
    if (!slice_equal(buf_view(&once), buf_view(&twice)))
        abort();
    options_deinit(&again);
    buf_deinit(&once);
    buf_deinit(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[OPTIONS_ERROR_MAX];
    struct options o;
    options_init(&o);
    if (options_load(&o, "fuzz", slice_of(data, size), error) == 0)
        check_rewrite(&o, slice_of(data, size));
    for (uint32_t i = 0; i < options_count(); i++)
        (void)option_matches(option_at(i), slice_of(data, size < 64 ? size : 64));
    options_deinit(&o);
    return 0;
}
