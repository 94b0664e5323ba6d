// SPDX-License-Identifier: Apache-2.0
// Numbers in text against the C library: what is accepted means the same there, and what is printed reads back.
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "proto/number.h"

// Accepted exactly if the C library's own print of the value is the text.
static void check_whole(struct slice text, const char *terminated)
{
    char print[64];
    int64_t value;
    errno = 0;
    long long want = strtoll(terminated, NULL, 10);
    bool in_range = errno == 0;
    int len = snprintf(print, sizeof print, "%lld", want);
    bool canonical = in_range && (size_t)len == text.len && memcmp(print, text.data, text.len) == 0;
    bool ok = number_parse_i64(text, &value);
    assert(ok == canonical && (!ok || value == want));
    uint64_t natural;
    errno = 0;
    unsigned long long wide = strtoull(terminated, NULL, 10);
    in_range = errno == 0;
    len = snprintf(print, sizeof print, "%llu", wide);
    canonical = in_range && (size_t)len == text.len && memcmp(print, text.data, text.len) == 0;
    ok = number_parse_u64(text, &natural);
    assert(ok == canonical && (!ok || natural == wide));
}

static void check_float(struct slice text, const char *terminated)
{
    char *end;
    errno = 0;
    long double want = strtold(terminated, &end), got;
    bool good = text.len > 0 && !isspace(text.data[0]) && (size_t)(end - terminated) == text.len && !isnan(want) &&
                !(errno == ERANGE && (isinf(want) || want == 0));
    bool ok = number_parse_float(text, &got);
    assert(ok == good && (!ok || got == want));
    errno = 0;
    double narrow_want = strtod(terminated, &end), narrow;
    good = text.len > 0 && !isspace(text.data[0]) && (size_t)(end - terminated) == text.len && !isnan(narrow_want) &&
           !(errno == ERANGE && (isinf(narrow_want) || narrow_want == 0));
    ok = number_parse_double(text, &narrow);
    assert(ok == good && (!ok || narrow == narrow_want));
    static char print[5 * 1024];
    if (number_parse_float(text, &got) && isfinite(got)) {
        size_t len = number_format_float(print, sizeof print, got);
        long double back;
        assert(number_parse_float(slice_of(print, len), &back));
        assert(fabsl(back - got) <= 1e-17L || fabsl(back - got) <= fabsl(got) * 1e-18L);
    }
}

static void check_bits(uint64_t bits)
{
    char print[64], want[64];
    size_t len = number_format_i64(print, (int64_t)bits);
    assert(len == (size_t)snprintf(want, sizeof want, "%" PRId64, (int64_t)bits) && memcmp(print, want, len) == 0);
    len = number_format_u64(print, bits);
    assert(len == (size_t)snprintf(want, sizeof want, "%" PRIu64, bits) && memcmp(print, want, len) == 0);
    double value, back;
    memcpy(&value, &bits, sizeof value);
    len = number_format_double(print, NUMBER_TEXT_MAX, value);
    assert(len > 0 && len <= NUMBER_TEXT_MAX);
    if (!isnan(value))
        assert(number_parse_double(slice_of(print, len), &back) && back == value && signbit(back) == signbit(value));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char terminated[4096];
    if (size >= sizeof terminated)
        return 0;
    if (size > 0)
        memcpy(terminated, data, size);
    terminated[size] = '\0';
    check_whole(slice_of(terminated, size), terminated);
    check_float(slice_of(terminated, size), terminated);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t bits;
        memcpy(&bits, data + i, sizeof bits);
        check_bits(bits);
    }
    return 0;
}
