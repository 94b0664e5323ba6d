// SPDX-License-Identifier: Apache-2.0
// Asks the kernel to poll network cards itself whenever a busy-polling reactor looks for work (Linux 6.9). It needs cards whose
// drivers take part; the loopback has none, so that nothing changes there.
#pragma once

#include <stdint.h>

#include "base/assert.h"

// 0, or -errno: the reactor then polls its own queue alone.
int napi_poll_epoll(int epoll_fd) warn_unused;
int napi_poll_uring(int ring_fd) warn_unused;
