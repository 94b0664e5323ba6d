// SPDX-License-Identifier: Apache-2.0
#include "proto/number.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLOAT_TEXT_MAX (5 * 1024) // Redis refuses longer texts

// The digits of a number that does not begin with 0, or a lone 0.
static bool parse_digits(const uint8_t *p, size_t len, uint64_t *out)
{
    if (len == 0 || len > 20)
        return false;
    uint64_t value = (uint64_t)p[0] - '0';
    if (value > 9 || (value == 0 && len > 1))
        return false;
    size_t safe = len < 19 ? len : 19; // 19 digits always fit 64 bits
    for (size_t i = 1; i < safe; i++) {
        unsigned digit = p[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        value = value * 10 + digit;
    }
    if (len == 20) {
        unsigned digit = p[19] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

bool number_parse_u64(struct slice text, uint64_t *out)
{
    return parse_digits(text.data, text.len, out);
}

bool number_parse_i64(struct slice text, int64_t *out)
{
    uint64_t value;
    if (text.len > 1 && text.data[0] == '-') {
        if (!parse_digits(text.data + 1, text.len - 1, &value) || value == 0 || value > (uint64_t)INT64_MAX + 1)
            return false;
        *out = (int64_t)(0 - value);
        return true;
    }
    if (!parse_digits(text.data, text.len, &value) || value > INT64_MAX)
        return false;
    *out = (int64_t)value;
    return true;
}

// The C library reads and writes numbers in the host's locale; ours always have a point. newlocale gives the built-in "C"
// locale, which takes no memory.
static locale_t locale_enter(void)
{
    return uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0));
}

// A terminated copy, for strtold and strtod.
static bool copy_text(struct slice text, char *copy)
{
    if (text.len == 0 || text.len >= FLOAT_TEXT_MAX || isspace(text.data[0]))
        return false;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return true;
}

bool number_parse_float(struct slice text, long double *out)
{
    char copy[FLOAT_TEXT_MAX], *end;
    if (!copy_text(text, copy))
        return false;
    locale_t old = locale_enter();
    errno = 0;
    long double value = strtold(copy, &end);
    bool out_of_range = errno == ERANGE && (isinf(value) || value == 0);
    uselocale(old);
    if ((size_t)(end - copy) != text.len || out_of_range || isnan(value))
        return false;
    *out = value;
    return true;
}

bool number_parse_double(struct slice text, double *out)
{
    char copy[FLOAT_TEXT_MAX], *end;
    if (!copy_text(text, copy))
        return false;
    locale_t old = locale_enter();
    errno = 0;
    double value = strtod(copy, &end);
    bool out_of_range = errno == ERANGE && (isinf(value) || value == 0);
    uselocale(old);
    if ((size_t)(end - copy) != text.len || out_of_range || isnan(value))
        return false;
    *out = value;
    return true;
}

static const char DIGIT_PAIRS[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
                                  "525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

static unsigned count_digits(uint64_t value)
{
    unsigned digits = 1;
    for (; value >= 10000; value /= 10000)
        digits += 4;
    return digits + (value >= 10) + (value >= 100) + (value >= 1000);
}

size_t number_format_u64(char *out, uint64_t value)
{
    unsigned digits = count_digits(value), at = digits;
    while (value >= 100) {
        at -= 2;
        memcpy(out + at, DIGIT_PAIRS + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10)
        memcpy(out, DIGIT_PAIRS + value * 2, 2);
    else
        out[0] = (char)('0' + value);
    return digits;
}

size_t number_format_i64(char *out, int64_t value)
{
    if (value >= 0)
        return number_format_u64(out, (uint64_t)value);
    out[0] = '-';
    return 1 + number_format_u64(out + 1, 0 - (uint64_t)value);
}

size_t number_format_float(char *out, size_t room, long double value)
{
    locale_t old = locale_enter();
    int written = snprintf(out, room, "%.17Lf", value);
    uselocale(old);
    assert(written > 0 && (size_t)written < room);
    size_t len = (size_t)written;
    if (memchr(out, '.', len) == NULL) // inf, nan
        return len;
    while (out[len - 1] == '0')
        len--;
    if (out[len - 1] == '.')
        len--;
    if (len == 2 && out[0] == '-' && out[1] == '0') {
        out[0] = '0';
        len = 1;
    }
    return len;
}

// value = 0.d1 d2 ... dn * 10^point
struct decimal {
    char digits[20];
    int count;
    int point;
};

// The fewest digits that read back as `value` (positive and finite). 15 digits of a normal double are exact or the double
// needs more; below DBL_MIN one digit may do.
static struct decimal decimal_shortest(double value)
{
    struct decimal d;
    char text[40];
    locale_t old = locale_enter();
    for (int precision = value < 0x1p-1022 ? 0 : 14;; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, value);
        if (precision == 16 || strtod(text, NULL) == value) {
            d.count = precision + 1;
            break;
        }
    }
    uselocale(old);
    d.digits[0] = text[0];
    memcpy(d.digits + 1, text + 2, (size_t)d.count - 1);
    d.point = 1 + atoi(strchr(text, 'e') + 1);
    while (d.count > 1 && d.digits[d.count - 1] == '0')
        d.count--;
    return d;
}

static size_t put_repeated(char *out, char c, int times)
{
    if (times > 0)
        memset(out, c, (size_t)times);
    return times > 0 ? (size_t)times : 0;
}

static size_t put_digits(char *out, const char *digits, int count)
{
    memcpy(out, digits, (size_t)count);
    return (size_t)count;
}

// Where Redis and Valkey change from plain digits to an exponent: see the bounds in each branch.
static size_t decimal_print(char *out, const struct decimal *d)
{
    int zeros = d->point - d->count, exponent = d->point - 1;
    size_t n = 0;
    if (zeros >= 0 && abs(exponent) < d->count + 7) {
        n = put_digits(out, d->digits, d->count);
        return n + put_repeated(out + n, '0', zeros);
    }
    if (zeros < 0 && (zeros > -7 || abs(exponent) < 4)) {
        if (d->point <= 0) {
            n = put_digits(out, "0.", 2);
            n += put_repeated(out + n, '0', -d->point);
            return n + put_digits(out + n, d->digits, d->count);
        }
        n = put_digits(out, d->digits, d->point);
        out[n++] = '.';
        return n + put_digits(out + n, d->digits + d->point, d->count - d->point);
    }
    out[n++] = d->digits[0];
    if (d->count > 1) {
        out[n++] = '.';
        n += put_digits(out + n, d->digits + 1, d->count - 1);
    }
    out[n++] = 'e';
    out[n++] = exponent < 0 ? '-' : '+';
    return n + number_format_u64(out + n, (uint64_t)abs(exponent));
}

size_t number_format_double(char *out, size_t room, double value)
{
    assert(room >= NUMBER_TEXT_MAX);
    if (isnan(value))
        return put_digits(out, "nan", 3);
    size_t n = 0;
    if (signbit(value)) {
        out[n++] = '-';
        value = -value;
    }
    if (isinf(value))
        return n + put_digits(out + n, "inf", 3);
    if (value <= 0x1p62 && value == (double)(uint64_t)value)
        return n + number_format_u64(out + n, (uint64_t)value);
    struct decimal d = decimal_shortest(value);
    return n + decimal_print(out + n, &d);
}
