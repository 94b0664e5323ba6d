// SPDX-License-Identifier: Apache-2.0
// liburing, and the constants of newer kernels that its 2.3 headers lack.
#pragma once

#include <liburing.h>

// What became of a zero-copy send (Linux 6.2).
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE  (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

// Later libraries ask for it by themselves: entry i is then at index i, with no array between.
#ifndef IORING_SETUP_NO_SQARRAY
#define IORING_SETUP_NO_SQARRAY (1U << 16)
#endif
