// SPDX-License-Identifier: Apache-2.0
#include "tools/admin/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void text_bytes(FILE *out, struct slice bytes)
{
    fputc('"', out);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c >= 0x20 && c < 0x7f)
            fputc(c, out);
        else if (c == '\n' || c == '\r' || c == '\t')
            fprintf(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else
            fprintf(out, "\\x%02x", c);
    }
    fputc('"', out);
}

void text_json(FILE *out, struct slice bytes)
{
    fputc('"', out);
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.data[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c >= 0x20 && c < 0x7f)
            fputc(c, out);
        else
            fprintf(out, "\\u%04x", c);
    }
    fputc('"', out);
}

void text_json_cstr(FILE *out, const char *text)
{
    text_json(out, slice_cstr(text));
}

struct text_uuid text_uuid(const struct uuid *u)
{
    struct text_uuid t;
    for (size_t i = 0; i < sizeof u->bytes; i++)
        snprintf(t.text + 2 * i, 3, "%02x", u->bytes[i]);
    return t;
}

struct text_time text_time(int64_t unix_ms)
{
    struct text_time t = { "" };
    struct tm parts;
    time_t seconds = unix_ms / 1000;
    if (unix_ms < 0 || gmtime_r(&seconds, &parts) == NULL || parts.tm_year > 8099)
        snprintf(t.text, sizeof t.text, "%" PRId64, unix_ms);
    else
        strftime(t.text, sizeof t.text, "%Y-%m-%dT%H:%M:%S", &parts);
    size_t len = strlen(t.text);
    if (unix_ms >= 0 && len == 19)
        snprintf(t.text + len, sizeof t.text - len, ".%03dZ", (int)(unix_ms % 1000));
    return t;
}

static bool number_parse(const char *text, int64_t *out)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    *out = value;
    return end != text && *end == '\0' && value >= 0 && value < INT64_MAX;
}

bool text_time_parse(const char *text, int64_t *unix_ms)
{
    struct tm parts = { .tm_year = 0 };
    int64_t ms = 0;
    if (number_parse(text, unix_ms))
        return true;
    const char *at = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (at == NULL)
        return false;
    if (*at == '.') {
        int64_t scale = 100;
        for (at++; *at >= '0' && *at <= '9'; at++, scale /= 10)
            ms += (*at - '0') * scale;
    }
    if (strcmp(at, "Z") != 0)
        return false;
    *unix_ms = (int64_t)timegm(&parts) * 1000 + ms;
    return *unix_ms >= 0;
}
