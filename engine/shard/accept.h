// SPDX-License-Identifier: Apache-2.0
// New connections: the listeners of a worker.
#pragma once

#include "engine/shard/worker.h"

void accept_on_completion(struct listener *l, const struct completion *done);
void accept_on_cancelled(struct listener *l);
// Arms listeners again that stopped for want of descriptors; called by the clock.
void accept_retry(struct worker *w);
void accept_stop(struct worker *w);
