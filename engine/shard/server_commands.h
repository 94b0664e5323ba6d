// SPDX-License-Identifier: Apache-2.0
// Commands about connections and the server; the command table names them.
//
// Those that every worker runs (CLIENT LIST and KILL, CONFIG SET and RESETSTAT) act on call.worker alone and find call.client
// NULL on workers that do not own the connection.
#pragma once

#include "engine/command/command.h"

command_fn cmd_ping, cmd_echo, cmd_hello, cmd_auth, cmd_quit, cmd_reset, cmd_select;

command_fn cmd_client, cmd_client_id, cmd_client_info, cmd_client_list, cmd_client_kill, cmd_client_getname, cmd_client_setname;
command_fn cmd_client_setinfo, cmd_client_reply, cmd_client_no_evict, cmd_client_no_touch, cmd_client_getredir, cmd_client_help;

command_fn cmd_config, cmd_config_get, cmd_config_set, cmd_config_resetstat, cmd_config_rewrite, cmd_config_help;

command_fn cmd_info, cmd_time, cmd_shutdown, cmd_lolwut;

// A container whose subcommand is not in the table.
void reply_unknown_subcommand(struct call *c, const char *container);
// The lines of a HELP subcommand, with HELP's own behind them.
void reply_help(struct call *c, const char *container, const char *const *lines);
