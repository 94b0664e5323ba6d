// SPDX-License-Identifier: Apache-2.0
// A simulated client: it draws commands, knows every reply in advance, and complains about the first that differs.
//
//   generate*.c  draws a command, changes the model as the command will, remembers the reply that must come (struct expect)
//   check.c      compares what came
//   client.c     the connection: writing, reading, being slow, being cut, coming back
//
// The model is exact because a client's keys are its own. Its commands are pipelined, so the model runs ahead of the replies; when the
// connection is cut, the keys of unanswered writes may be in any state between: they are given up (a new name takes their place) and at
// the end must hold one of the values that were possible. Keys with a deadline have one command on its way at most, because their
// reply depends on when it was run: between the command's leaving and the reply's coming.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/prng.h"
#include "test/sim/value.h"
#include "test/sim/world.h"

#define KEYS_MAX    48 // per client
#define COUNTERS    4  // shared by all
#define TOUCHES_MAX KEYS_MAX
#define CLIENTS_MAX 16

struct sim;

struct workload_knobs {
    uint32_t keys;      // per client
    uint32_t depth;     // commands on their way
    uint32_t value_max; // bytes, most values
    uint32_t large_max; // bytes, of some values; 0 = none
    uint32_t large;     // permille of values
    uint32_t commands;  // per client
    uint32_t cut;       // permille of steps: the connection is cut
    uint32_t slow;      // permille of steps: a client stops reading for a while
    uint32_t malformed; // permille of commands
    uint32_t quit;      // likewise
    uint32_t kill;      // likewise: CLIENT KILL of everybody else
    uint32_t inline_permille;
    uint32_t frames;   // permille of commands that come as FCNP frames
    uint32_t many;     // permille: commands with several keys
    uint32_t timed;    // permille: commands on keys with deadlines
    uint32_t scan;     // permille
    uint32_t odd;      // permille: wrong and administrative commands
    uint32_t read_max; // bytes read in a step
    size_t send_window, receive_window;
    uint64_t think_ns;
};

struct key {
    char name[40];
    uint32_t db;
    uint32_t generation;
    struct value *value; // as of the last command written
    // Of a scan that goes on.
    bool scan_due, scan_seen;
    // With deadline.
    bool timed;
    bool busy;
    bool has_deadline;
    int64_t deadline_low, deadline_high; // Unix ms
};

struct touch {
    struct key *key;
    struct value *before, *after;
};

enum expect_kind {
    EXPECT_TEXT,    // exactly so
    EXPECT_PREFIX,  // begins so (errors)
    EXPECT_BULK,    // a value or null
    EXPECT_BULKS,   // an array of them
    EXPECT_INTEGER, // low..high
    EXPECT_COUNTER, // a number that nobody else got
    EXPECT_TIMED,
    EXPECT_SCAN,
    EXPECT_KEYS,
    EXPECT_GROUP,       // equal values, or nulls (check_group)
    EXPECT_GROUP_COUNT, // none or all
    EXPECT_GROUP_VALUE, // one such value or null
    EXPECT_ANY,
};

enum timed_kind { TIMED_GET, TIMED_SET, TIMED_TTL, TIMED_EXPIRE, TIMED_PERSIST, TIMED_DEL, TIMED_EXISTS };

struct expect {
    struct expect *next;
    uint8_t kind;
    uint8_t timed;
    uint8_t form; // enum frames_form: how the reply comes
    uint16_t counter;
    char command[24];
    char text[64];
    int64_t low, high;
    int64_t ms;        // TIMED_SET, TIMED_EXPIRE
    int64_t queued_ms; // wall time
    struct key *key;
    struct value **values;
    uint32_t value_count;
    struct touch *touches;
    uint32_t touch_count;
    uint64_t bytes; // of the reply, about
    uint32_t names; // EXPECT_KEYS: how many, and the sum of their hashes
    uint64_t names_hash;
    bool flush; // of the whole private database
};

// A key that was given up, and all that it may hold.
struct lost_key {
    struct lost_key *next;
    char name[40];
    uint32_t db;
    uint32_t count;
    struct value **values;
};

enum client_state {
    CLIENT_AWAY,     // no connection; comes back at `again_ns`
    CLIENT_ON,       // sends and reads
    CLIENT_FINISHED, // sends no more (FIN, QUIT or rubbish); reads what is due and then the end
    CLIENT_DONE,     // will not come back
};

struct client_sim {
    struct sim *sim;
    uint32_t id;
    struct prng prng;
    uint8_t state;
    uint8_t form;     // of the command written last
    bool queueing;    // between MULTI and EXEC
    bool finish_sent; // FIN
    bool finish_wanted;
    bool hung_up; // the server will close (QUIT, rubbish)
    struct socket *socket;
    uint64_t again_ns;
    uint64_t quiet_until_ns; // does not read
    uint64_t think_until_ns;
    struct buf out;
    size_t out_sent;
    struct buf in;
    struct expect *due, **due_tail;
    uint32_t due_count;
    uint64_t due_bytes;
    uint32_t queued; // commands ever
    uint64_t progress_ns;
    uint8_t protocol;
    uint32_t db; // of the connection once all that was written has run
    struct key keys[KEYS_MAX];
    uint32_t key_count;
    struct lost_key *lost;
    bool private_lost;      // what is in the private database is not known any more
    uint32_t private_extra; // keys given up there
    uint64_t serial;
    int64_t counter_last[COUNTERS];
    bool scanning, scan_waits;
    uint32_t scan_db;
    char scan_cursor[24];
    bool verifying;
    bool leaving;
};

void client_sim_init(struct client_sim *c, struct sim *sim, uint32_t id, uint64_t seed);
void client_sim_deinit(struct client_sim *c);
// One step: reads, writes, goes on; false when there was nothing to do.
void client_sim_step(struct client_sim *c);
// When it wants its next step; 0 = now, NEVER = when something comes.
uint64_t client_sim_next_ns(const struct client_sim *c);
// Leaves for good: 0 FIN, 1 QUIT, 2 RST.
void client_sim_leave(struct client_sim *c, int how);
// Reads back every key once more; then the check is complete.
void client_sim_verify(struct client_sim *c);

// generate*.c
void generate_command(struct client_sim *c);
void generate_hello(struct client_sim *c);
void generate_malformed(struct client_sim *c);
void generate_quit(struct client_sim *c);
void generate_get(struct client_sim *c, struct key *k);
void generate_lost(struct client_sim *c, struct lost_key *lost);
void generate_counter_read(struct client_sim *c, uint32_t counter);
void key_name(struct client_sim *c, struct key *k, uint32_t index);

uint64_t generate_draw(struct client_sim *c, uint64_t bound);
// Writes the words of one command, of database 0, and notes what is due.
struct expect *generate_words(struct client_sim *c, const struct slice *words, uint32_t count, enum expect_kind kind);

// group.c: keys that all clients share and only ever change together.
void group_command(struct client_sim *c);
// "" or what is wrong with the reply.
const char *group_check(enum expect_kind kind, struct slice bytes);

// client.c: keys that were given up in the private database may be gone now.
void lost_flushed(struct client_sim *c);

// check.c: one whole reply.
void check_reply(struct client_sim *c, struct expect *e, struct slice bytes);

// expect.c
struct expect *expect_free(struct expect *e);

// sim.c
struct world *sim_world(struct sim *s);
const struct workload_knobs *sim_workload(const struct sim *s);
int sim_listener(struct sim *s, struct prng *prng);
void sim_counter_sent(struct sim *s, uint32_t counter);
void sim_counter_got(struct sim *s, struct client_sim *c, uint32_t counter, int64_t value);
void sim_counter_read(struct sim *s, struct client_sim *c, uint32_t counter, int64_t value);
uint32_t sim_databases(const struct sim *s);
uint32_t sim_shards(const struct sim *s);
int sim_direct_listener(const struct sim *s, uint32_t shard); // < 0: shards have no ports
void sim_say(const struct sim *s, const char *format, ...) printf_like(2, 3);
bool sim_stopping(const struct sim *s);
bool sim_asks_snapshots(const struct sim *s);
bool sim_switches_log(const struct sim *s);
bool sim_disk_is_quick(const struct sim *s);  // it never fails, fills up or stands still
bool sim_logs(const struct sim *s);           // the server does, now
bool sim_log_left_clean(const struct sim *s); // when it was last switched off
const struct route *sim_route(const struct sim *s);
bool sim_lenient(const struct sim *s);  // the server may close a connection: it stops, or memory fails
bool sim_compares(const struct sim *s); // no memory fails, so every reply is known
