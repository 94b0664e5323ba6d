// SPDX-License-Identifier: Apache-2.0
#include "bench/zipf.h"

#include <math.h>

// The tail beyond this many terms is taken from its integral (midpoint rule): the error is far below one part in a million.
#define ZIPF_EXACT_TERMS 1000000

static double zeta(uint64_t count, double exponent)
{
    uint64_t exact = count < ZIPF_EXACT_TERMS ? count : ZIPF_EXACT_TERMS;
    double sum = 0;
    for (uint64_t i = exact; i > 0; i--) // small terms first, so that they are not lost
        sum += pow((double)i, -exponent);
    if (count > exact) {
        double power = 1 - exponent;
        sum += (pow((double)count + 0.5, power) - pow((double)exact + 0.5, power)) / power;
    }
    return sum;
}

void zipf_init(struct zipf *z, uint64_t count, double exponent)
{
    z->count = count;
    z->exponent = exponent;
    z->zeta = zeta(count, exponent);
    z->alpha = 1 / (1 - exponent);
    z->second = 1 + pow(0.5, exponent);
    // With two keys or fewer every draw ends before eta is asked for.
    z->eta = count <= 2 ? 0 : (1 - pow(2.0 / (double)count, 1 - exponent)) / (1 - z->second / z->zeta);
}

uint64_t zipf_draw(const struct zipf *z, struct prng *p)
{
    double u = prng_unit(p);
    double scaled = u * z->zeta;
    if (scaled < 1 || z->count == 1)
        return 0;
    if (scaled < z->second || z->count == 2)
        return 1;
    uint64_t rank = (uint64_t)((double)z->count * pow(z->eta * u - z->eta + 1, z->alpha));
    return rank < z->count ? rank : z->count - 1;
}
