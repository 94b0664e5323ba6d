// SPDX-License-Identifier: Apache-2.0
// GET and SET of a key and a short value, whole and without a fault, as nearly all RESP requests are: taken apart in registers, at a
// third of what the resumable parser costs. Whatever is not plainly that is left to it, and this says nothing about it.
#pragma once

#include "base/assert.h"
#include "base/bytes.h"
#include "base/slice.h"

#define RESP_HOT_MAX 2048 // bytes of such a request, at most

struct resp_hot {
    size_t len;        // of the request
    struct slice name; // as it came
    struct slice key;
    struct slice value; // of SET
    uint32_t argc;      // 2: GET, 3: SET
};

// `*at` stands behind a '$' and moves behind the argument. Lengths of up to three digits, as Redis writes them: no zero in front.
static inline __attribute__((__always_inline__)) bool resp_hot_bulk(const uint8_t **at, const uint8_t *end, struct slice *bulk)
{
    const uint8_t *p = *at;
    if (unlikely(end - p < 6))
        return false;
    uint32_t len = p[0] - (uint32_t)'0', digit = p[1] - (uint32_t)'0';
    if (unlikely(len > 9))
        return false;
    p++;
    if (digit <= 9) {
        if (unlikely(len == 0))
            return false;
        len = len * 10 + digit;
        digit = *++p - (uint32_t)'0';
        if (digit <= 9) {
            len = len * 10 + digit;
            p++;
        }
    }
    if (unlikely(load_u16(p) != ('\r' | '\n' << 8) || (size_t)(end - p) < len + 4u))
        return false;
    *bulk = slice_of(p + 2, len);
    p += 2 + len;
    *at = p + 2;
    return load_u16(p) == ('\r' | '\n' << 8);
}

// False: it is not one of these, or is cut.
static inline __attribute__((__always_inline__)) bool resp_hottest(struct slice in, struct resp_hot *out)
{
    static const char GET_HEAD[] = "*2\r\n$3\r\n", SET_HEAD[] = "*3\r\n$3\r\n", GET_NAME[] = "GET\r", SET_NAME[] = "SET\r";
    const uint8_t *p = in.data, *end = p + in.len;
    if (unlikely(in.len < 20))
        return false;
    uint64_t head = load_u64(p);
    uint32_t name = load_u32(p + 8) & 0xffdfdfdf; // of letters the upper ones
    bool get = head == load_u64(GET_HEAD) && name == load_u32(GET_NAME);
    if (unlikely(!get && (head != load_u64(SET_HEAD) || name != load_u32(SET_NAME))))
        return false;
    if (unlikely(p[12] != '\n' || p[13] != '$'))
        return false;
    const uint8_t *at = p + 14;
    out->value = slice_of(at, 0);
    if (unlikely(!resp_hot_bulk(&at, end, &out->key)))
        return false;
    if (!get && unlikely(at == end || *at++ != '$' || !resp_hot_bulk(&at, end, &out->value)))
        return false;
    out->name = slice_of(p + 8, 3);
    out->len = (size_t)(at - p);
    out->argc = get ? 2 : 3;
    return true;
}

// What stands before a bulk string of up to 999 bytes in a reply. Returns its length; writes up to 8 bytes.
static inline size_t resp_hot_head(uint8_t *to, uint32_t len)
{
    static_assert(RESP_HOT_MAX >= 2 * 999 + 50, "two arguments of three digits fit");
    uint32_t digits = len < 10 ? 1 : len < 100 ? 2 : 3;
    uint64_t text = len < 10 ? len : len < 100 ? len / 10 | len % 10 << 8 : len / 100 | len / 10 % 10 << 8 | len % 10 << 16;
    text |= 0x303030u & ((1u << digits * 8) - 1);
    store_u64(to, '$' | text << 8 | (uint64_t)('\r' | '\n' << 8) << (8 + digits * 8));
    return digits + 3;
}
