// SPDX-License-Identifier: Apache-2.0
// What several files of key commands share.
#pragma once

#include "engine/store/entry.h"

// As TYPE answers and SCAN's TYPE option reads.
const char *key_type_name(enum entry_type type);
// As OBJECT ENCODING names it.
const char *object_encoding(const struct entry *e);
