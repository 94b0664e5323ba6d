// SPDX-License-Identifier: Apache-2.0
// The server's numbers in the text format of Prometheus (exposition format 0.0.4), and the admin port that serves them: worker 0
// answers GET /metrics over HTTP/1.1, closes, and understands nothing else. Few connections at a time, a bounded request, ten
// seconds each.
#pragma once

#include "engine/shard/conn.h"

#define METRICS_CONNS_MAX  16
#define METRICS_TIMEOUT_MS 10000

// All of it, as of now.
void metrics_write(struct worker *w, struct buf *out);
// Bytes of a connection of the admin port.
void metrics_feed(struct conn *c, struct slice bytes);
