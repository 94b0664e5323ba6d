// SPDX-License-Identifier: Apache-2.0
// What a service manager says to us and hears from us: the protocols of sd_listen_fds(3) and sd_notify(3).
#pragma once

#include <stdint.h>

#define SERVICE_FDS_FIRST 3

// Listening sockets that were handed over: descriptors from SERVICE_FDS_FIRST on; 0 when there are none. They are made
// close-on-exec, and the variables are removed, so that no child takes them for its own.
uint32_t service_sockets(void);

// Tells "READY=1", "STOPPING=1" and the like; nothing happens without a manager.
void service_notify(const char *state);
