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

command_fn cmd_slowlog, cmd_slowlog_get, cmd_slowlog_len, cmd_slowlog_reset, cmd_slowlog_help;
command_fn cmd_commandlog, cmd_commandlog_get, cmd_commandlog_len, cmd_commandlog_reset, cmd_commandlog_help;

command_fn cmd_latency, cmd_latency_doctor, cmd_latency_graph, cmd_latency_help, cmd_latency_histogram, cmd_latency_history;
command_fn cmd_latency_latest, cmd_latency_reset;

command_fn cmd_save, cmd_bgsave, cmd_lastsave, cmd_bgrewriteaof;
command_fn cmd_monitor;
command_fn cmd_debug;
command_fn cmd_memory;
command_fn cmd_client_pause;
command_fn cmd_client_unpause;
command_fn cmd_client_unblock;
command_fn cmd_client_tracking;
command_fn cmd_client_trackinginfo;
command_fn cmd_client_caching;
command_fn cmd_memory_doctor;
command_fn cmd_memory_help;
command_fn cmd_memory_malloc_stats;
command_fn cmd_memory_purge;
command_fn cmd_memory_stats;
command_fn cmd_memory_usage;
command_fn cmd_debug_change_repl_id;
command_fn cmd_debug_help;
command_fn cmd_debug_object;
command_fn cmd_debug_protocol;
command_fn cmd_debug_quicklist_packed_threshold;
command_fn cmd_debug_replicate;
command_fn cmd_debug_set_active_expire;
command_fn cmd_debug_sleep;
command_fn cmd_debug_stringmatch_len;

command_fn cmd_info, cmd_time, cmd_shutdown, cmd_lolwut;

// A container whose subcommand is not in the table.
void reply_unknown_subcommand(struct call *c, const char *container);
// The lines of a HELP subcommand, with HELP's own behind them.
// Text for people (RESP3: verbatim); frees it.
void reply_text(struct call *c, struct buf *text);
void reply_help(struct call *c, const char *container, const char *const *lines);
