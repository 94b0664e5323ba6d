// SPDX-License-Identifier: Apache-2.0
// Log lines that never block their caller: they go into a bounded ring that one thread writes out. When the ring is full a line
// is dropped and counted, and the count is itself logged.
//
//   4711:M 21 Nov 2026 05:03:44.120 * Ready to accept connections        pid : role  date  level  message
#pragma once

#include <stdint.h>

#include "base/assert.h"

enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

#define LOG_LINE_MAX 1024 // of one message; what is longer is cut

// `path` "" = standard output. Starts the writer thread; the log ends with log_close or the process. 0 or -errno.
int log_open(const char *path, enum log_level level) warn_unused;
// Opens the file anew (somebody has moved it away); on -errno the old one goes on.
int log_reopen(void) warn_unused;
// Writes out what is in the ring. Lines after it are lost, as are those before log_open.
void log_close(void);

void log_set_level(enum log_level level);
// M: master, S: replica, as Redis; M at first.
void log_set_role(char role);

// Any thread. Control characters are shown as '?', so that nobody can forge a line.
void log_line(enum log_level level, const char *format, ...) printf_like(2, 3);

// Lines dropped since start.
uint64_t log_dropped(void);
