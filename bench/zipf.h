// SPDX-License-Identifier: Apache-2.0
// Ranks with Zipf popularity: rank r is drawn with probability proportional to 1 / (r + 1)^exponent.
// Gray, Sundaresan, Englert, Baclawski, Weinberger, "Quickly generating billion-record synthetic databases", SIGMOD 1994 (the
// method of YCSB too). A draw costs a pow(); who needs draws cheaper than that draws a table in advance.
#pragma once

#include <stdint.h>

#include "base/prng.h"

struct zipf {
    uint64_t count;
    double exponent;
    double zeta; // sum of 1 / r^exponent over r = 1..count
    double alpha;
    double eta;
    double second; // cumulated probability of ranks 0 and 1, times zeta
};

// count > 0; 0 < exponent < 1.
void zipf_init(struct zipf *z, uint64_t count, double exponent);

// In [0, count).
uint64_t zipf_draw(const struct zipf *z, struct prng *p);
