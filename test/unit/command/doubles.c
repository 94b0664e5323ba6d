// SPDX-License-Identifier: Apache-2.0
// Stand-ins for the commands that engine/shard implements: the table names them, these tests do not run them.
#include "engine/command/command.h"

#define DOUBLE(name)                                                                                                                       \
    void cmd_##name(struct call *c)                                                                                                        \
    {                                                                                                                                      \
        reply_simple(c->reply, #name);                                                                                                     \
    }

DOUBLE(ping)
DOUBLE(echo)
DOUBLE(hello)
DOUBLE(auth)
DOUBLE(quit)
DOUBLE(reset)
DOUBLE(select)
DOUBLE(client)
DOUBLE(client_id)
DOUBLE(client_info)
DOUBLE(client_list)
DOUBLE(client_getname)
DOUBLE(client_getredir)
DOUBLE(client_setname)
DOUBLE(client_setinfo)
DOUBLE(client_kill)
DOUBLE(client_reply)
DOUBLE(client_no_evict)
DOUBLE(client_no_touch)
DOUBLE(client_help)
DOUBLE(info)
DOUBLE(config)
DOUBLE(config_get)
DOUBLE(config_set)
DOUBLE(config_resetstat)
DOUBLE(config_rewrite)
DOUBLE(config_help)
DOUBLE(time)
DOUBLE(shutdown)
DOUBLE(lolwut)
