// SPDX-License-Identifier: Apache-2.0
// liburing, and the constants of newer kernels that its 2.3 headers lack.
#pragma once

#include <liburing.h>

// Later libraries ask for it by themselves: entry i is then at index i, with no array between.
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
