// SPDX-License-Identifier: Apache-2.0
// The simulated network: listeners, connections and their descriptors, which are numbers that no kernel ever gave out.
//
//   client end                          world                                        server end
//   socket_write  --> in  (pipe: segments, delays, a window) -->  receive completions
//   socket_read   <-- out (pipe: likewise)                    <-- sends
//
// A connection is one struct socket, alive until both ends have let go of it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "test/sim/pipe.h"

#define SIM_FD_BASE   (1 << 20)
#define SIM_FDS_MAX   128
#define SIM_BACKLOG   16
#define SIM_UNLIMITED ((size_t)1 << 40)

struct op;
struct sim_reactor;

struct net_knobs {
    uint64_t delay_ns;       // up to so much for every segment
    uint64_t spike_ns;       // and now and then up to so much
    uint32_t spike_permille; // of segments
    uint32_t segment_max;    // bytes
};

struct socket {
    uint32_t number; // of the connection, for the trace
    int fd;          // -1: not accepted yet, or closed by the server
    bool accepted;
    bool server_gone;
    bool client_gone;
    bool server_shut;         // shutdown(2)
    bool server_told;         // has seen the reset
    uint64_t reset_ns;        // when the client's RST reaches the server; NEVER
    uint64_t client_reset_ns; // when the server's reaches the client
    bool lossy;               // the server closed with bytes unread: the client may lose replies
    struct pipe in, out;
    struct sim_reactor *reactor;
    // In flight.
    struct op *recv, *send, *recv_cancel, *send_cancel;
    uint32_t recv_done, send_done;
    uint64_t send_hash;
    struct socket *next; // in the backlog
};

struct listener_socket {
    int fd;
    struct socket *backlog;
    uint32_t waiting;
    struct sim_reactor *reactor;
    struct op *accept, *cancel;
};

struct net {
    const uint64_t *now_ns;
    struct prng prng;
    struct net_knobs knobs;
    struct socket *sockets[SIM_FDS_MAX];            // by fd
    struct listener_socket *listeners[SIM_FDS_MAX]; // by fd
    uint32_t connections;                           // ever
    uint32_t alive;                                 // structs
    int lose_byte_in;                               // planted: how many more segments pass before one loses a byte; 0 = never
};

void net_init(struct net *n, const uint64_t *now_ns, const struct net_knobs *knobs, uint64_t seed);
void net_deinit(struct net *n);

// ---- the client's end

// NULL: nobody listens, or too many wait.
struct socket *socket_connect(struct net *n, int listener_fd, size_t send_window, size_t receive_window);
size_t socket_write(struct net *n, struct socket *s, const uint8_t *bytes, size_t len);
enum { SOCKET_END = -1, SOCKET_RESET = -2 };
// Bytes read, 0 = none now.
long socket_read(struct net *n, struct socket *s, uint8_t *to, size_t len);
uint64_t socket_next_ns(const struct socket *s);     // when reading may bring something
void socket_finish(struct net *n, struct socket *s); // FIN: no more writes
// Lets go of it. `reset`: RST instead of FIN, and what was on its way may be lost.
struct socket *socket_close(struct net *n, struct socket *s, bool reset);

// ---- the server's end

int net_listen(struct net *n);
struct socket *net_socket(struct net *n, int fd); // NULL: no such connection
struct listener_socket *net_listener(struct net *n, int fd);
int net_accept(struct net *n, struct listener_socket *l);
void net_abort(struct net *n, struct listener_socket *l); // the oldest one waiting is reset
size_t net_send(struct net *n, struct socket *s, const uint8_t *bytes, size_t len);
void net_shutdown(struct net *n, struct socket *s);
void net_close(struct net *n, int fd);
// The server's process is gone: nothing more leaves it, and what it has sent still arrives. Its ends are to be closed.
void net_crash(struct net *n);
bool net_is_reset(const struct net *n, const struct socket *s);
