// SPDX-License-Identifier: Apache-2.0
// The same as reply_scan.h for FCNP's response frames: it fills the same facts of the same scanner and gives the same events.
//
//   magic 0xFB | version 2 | status | flags 0 | body_len u32 | body        (the specification's section 5)
//
// Items of an Array are its bulks.
#pragma once

#include "bench/reply_scan.h"

enum reply_event fcnp_scan_next(struct reply_scan *s, const uint8_t **at, const uint8_t *end);
