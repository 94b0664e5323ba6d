// SPDX-License-Identifier: Apache-2.0
// A state machine as a table of allowed moves: row = state now, bit = state that may follow.
// A move that the table lacks is a bug of ours and stops the process.
//
//   static const uint32_t CONN_MOVES[] = {
//       [CONN_OPEN]    = STATE(CONN_DRAINING) | STATE(CONN_CLOSING),
//       [CONN_CLOSING] = STATE(CONN_CLOSED),
//   };
//   state_move(&conn->state, CONN_CLOSING, CONN_MOVES);
#pragma once

#include <stdint.h>

#include "base/assert.h"

#define STATE(s) (UINT32_C(1) << (s))

static inline void state_move(uint8_t *state, uint8_t next, const uint32_t *moves)
{
    assert(next < 32 && (moves[*state] & STATE(next)) != 0);
    *state = next;
}
