// SPDX-License-Identifier: Apache-2.0
#include "proto/http.h"

#include "base/test.h"

static int status_of(const char *text)
{
    struct http_request rq;
    enum http_result result = http_parse(slice_cstr(text), &rq);
    return result == HTTP_PARTIAL ? -1 : rq.status;
}

static void a_request_without_a_body_is_understood(void)
{
    struct http_request rq;
    check(http_parse(slice_cstr("GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"), &rq) == HTTP_READY);
    check(rq.status == 0 && slice_equal(rq.method, slice_cstr("GET")) && slice_equal(rq.path, slice_cstr("/metrics")));
    check(status_of("GET / HTTP/1.0\n\n") == 0);
}

static void every_beginning_of_a_request_waits_for_more(void)
{
    static const char WHOLE[] = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    struct http_request rq;
    for (size_t len = 0; len + 1 < sizeof WHOLE - 1; len++)
        check(http_parse(slice_of(WHOLE, len), &rq) == HTTP_PARTIAL);
}

static void broken_requests_are_refused_at_their_first_line(void)
{
    check(status_of("GET\r\n") == 400);
    check(status_of("get / HTTP/1.1\r\n") == 400);
    check(status_of("GET /a b HTTP/1.1\r\n") == 400);
    check(status_of("GET /\x01 HTTP/1.1\r\n") == 400);
    check(status_of("GET / HTTP/2.0\r\n") == 505);
    check(status_of("GET / HTTX/1.1\r\n") == 400);
    check(status_of("*1\r\n$4\r\nPING\r\n") == 400);
    check(status_of("\r\n\r\n") == 400);
}

static void a_head_that_never_ends_is_refused(void)
{
    static char text[HTTP_HEAD_MAX + 2];
    struct http_request rq;
    memset(text, 'a', sizeof text);
    check(http_parse(slice_of(text, HTTP_HEAD_MAX), &rq) == HTTP_PARTIAL);
    check(http_parse(slice_of(text, sizeof text), &rq) == HTTP_READY && rq.status == 431);
}

static void an_answer_says_how_long_it_is(void)
{
    struct buf out;
    buf_init(&out, BUF_NO_LIMIT);
    http_answer(&out, 200, "text/plain", slice_cstr("abc"));
    static const char WANT[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    check(slice_equal(buf_view(&out), slice_cstr(WANT)));
    buf_deinit(&out);
}

TESTS(TEST(a_request_without_a_body_is_understood), TEST(every_beginning_of_a_request_waits_for_more),
      TEST(broken_requests_are_refused_at_their_first_line), TEST(a_head_that_never_ends_is_refused), TEST(an_answer_says_how_long_it_is))
