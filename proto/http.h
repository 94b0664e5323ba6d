// SPDX-License-Identifier: Apache-2.0
// The little of HTTP/1.1 (RFC 9112) that somebody who collects metrics needs: the head of a request without a body, and the head of an
// answer after which the connection is closed.
#pragma once

#include "base/assert.h"
#include "base/buf.h"
#include "base/slice.h"

#define HTTP_HEAD_MAX 8192

enum http_result { HTTP_PARTIAL, HTTP_READY };

struct http_request {
    struct slice method; // as it came: "GET"
    struct slice path;   // without the query
    int status;          // what is wrong with it: 400, 431, 505; 0 = nothing
};

// The head of a request at the beginning of `in`. HTTP_READY also when it is broken beyond what more bytes could mend (`status`).
enum http_result http_parse(struct slice in, struct http_request *out);

// A whole answer: status line, headers, body. `type`: of the body.
void http_answer(struct buf *out, int status, const char *type, struct slice body);
