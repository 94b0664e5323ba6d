// SPDX-License-Identifier: Apache-2.0
// A client of skerry's native protocol (FCNP v2): one address in, requests straight to the shard that owns the key.
//
// Two ways to use one client, which may alternate:
//   blocking      skerry_client_get(), _set(), ...: one request, its reply, a status
//   pipelined     skerry_client_queue_get(), ... queue requests; skerry_client_wait() blocks for the next reply, or, without ever
//                 blocking, poll skerry_client_fd() for reading, call skerry_client_step(), take replies with skerry_client_next()
// Replies are taken in the order in which requests were queued, whichever shards they went to.
//
// Threads: a client belongs to one thread at a time; there is no state outside of clients, so that any number of clients may be used by
// any number of threads. No function raises a signal (MSG_NOSIGNAL), and none takes longer than the timeouts of the options, but
// for the resolution of a host's name (getaddrinfo) in skerry_client_new() and when all addresses of a name failed. Do not use a client
// in the child of a fork.
//
// Memory: everything a client keeps counts against options.memory_max. What a server says is bounded before anything is allocated for it:
// buffers grow with the bytes that arrived, never with the lengths that were announced.
//
// Views: a pointer that a call gives to you (a value, a reply, an error's text) is valid until the next call with the same client.
//
// What is lost with a connection: a request whose last byte was not handed to the kernel stays queued until its timeout and goes out on
// the next connection. One that was sent and not answered ends with SKERRY_CLIENT_CLOSED or _TIMEOUT: the server may have executed it
// or not. The blocking verbs that only read (get, exists, ttl, mget, ping) are repeated by the library within their timeout.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SKERRY_CLIENT_PUBLIC __attribute__((visibility("default")))
#define SKERRY_CLIENT_CHECK  __attribute__((visibility("default"), warn_unused_result))
#else
#define SKERRY_CLIENT_PUBLIC
#define SKERRY_CLIENT_CHECK
#endif

#define SKERRY_CLIENT_VERSION_MAJOR 0
#define SKERRY_CLIENT_VERSION_MINOR 1
#define SKERRY_CLIENT_VERSION_PATCH 0

// What a call or a request came to. 0 is success; 1 to 15 are ordinary outcomes; from 16 on they are errors, with a text.
enum skerry_client_status {
    SKERRY_CLIENT_OK = 0,
    SKERRY_CLIENT_MISSING = 1, // there is no such key
    SKERRY_CLIENT_AGAIN = 2,   // the next reply is not here yet
    SKERRY_CLIENT_EMPTY = 3,   // no request is outstanding

    SKERRY_CLIENT_INVALID = 16,     // an argument is wrong
    SKERRY_CLIENT_BUSY = 17,        // a blocking verb while replies of queued requests wait to be taken
    SKERRY_CLIENT_FULL = 18,        // requests_max or send_max is reached: take replies first
    SKERRY_CLIENT_TOO_LARGE = 19,   // a request over the server's frame_max, a reply over reply_max, a buffer too small
    SKERRY_CLIENT_MEMORY = 20,      // no memory, or memory_max is reached
    SKERRY_CLIENT_ADDRESS = 21,     // the address cannot be read or its name not be resolved
    SKERRY_CLIENT_UNREACHABLE = 22, // no connection came about; the request was not sent
    SKERRY_CLIENT_CLOSED = 23,      // the connection ended before the reply; whether the request was executed is unknown
    SKERRY_CLIENT_TIMEOUT = 24,     // no reply in time; whether the request was executed is unknown
    SKERRY_CLIENT_PROTOCOL = 25,    // the server sent what the protocol does not allow
    SKERRY_CLIENT_REFUSED = 26,     // the server did not accept user and password, or wants them
    SKERRY_CLIENT_TOPOLOGY = 27,    // the server's topology cannot be used as the options want it
    SKERRY_CLIENT_MOVED = 28,       // the topology changed; the request was not executed and may be queued again
    SKERRY_CLIENT_SERVER = 29,      // the server answered with an error: its words are the text
};

enum skerry_client_kind {
    SKERRY_CLIENT_KIND_OK = 0,
    SKERRY_CLIENT_KIND_NULL = 1,
    SKERRY_CLIENT_KIND_ERROR = 2,
    SKERRY_CLIENT_KIND_INTEGER = 3,
    SKERRY_CLIENT_KIND_VALUE = 4,
    SKERRY_CLIENT_KIND_BOOLEAN = 5,
    SKERRY_CLIENT_KIND_ARRAY = 6,
    SKERRY_CLIENT_KIND_FLOAT = 7,
    SKERRY_CLIENT_KIND_NONE = 255, // the request had no reply
};

enum skerry_client_mode {
    SKERRY_CLIENT_AUTO = 0,   // a connection per shard where the server offers direct ports, else one connection for all
    SKERRY_CLIENT_FANOUT = 1, // one connection for all; the server routes
    SKERRY_CLIENT_DIRECT = 2, // a connection per shard or an error
};

struct skerry_client;

struct skerry_client_bytes {
    const void *data; // NULL: none (a key that does not exist)
    size_t length;
};

// Gives memory of `size` bytes that begins with what `memory` held (NULL: nothing), or NULL and leaves `memory` as it was;
// size 0 frees and gives NULL. `old_size` is what was asked for last.
typedef void *skerry_client_resize(void *context, void *memory, size_t old_size, size_t size);

// Begin with SKERRY_CLIENT_OPTIONS, which fills in the size; 0 or NULL in any other field means its default. Texts are copied.
struct skerry_client_options {
    size_t size;                  // of this structure, as the program knows it
    const char *address;          // "host:port", "host", "[v6]:port", "unix:/path" or "/path"; default 127.0.0.1:6380
    int mode;                     // enum skerry_client_mode
    const char *direct_host;      // host of the direct ports; default the address' own (a unix address has none: fanout)
    const char *user;             // default "default"
    const char *password;         // default none: no AUTH
    int connect_timeout_ms;       // default 2000; covers connecting, AUTH and HELLO; -1 never
    int request_timeout_ms;       // default 5000, from queueing to the reply; -1 never
    int backoff_min_ms;           // default 10: pause after the first failed connection, doubled after each further one
    int backoff_max_ms;           // default 1000
    size_t requests_max;          // default 65536: requests queued and not yet taken
    size_t send_max;              // default 4 MiB: bytes of requests waiting to be sent, per connection; one request may be larger
    size_t receive_max;           // default 1 MiB: bytes of replies waiting to be taken, per connection; one reply may be larger
    size_t reply_max;             // default 512 MiB: the largest reply that is accepted
    size_t memory_max;            // default 1 GiB: everything the client allocates
    skerry_client_resize *resize; // default the C library's heap
    void *resize_context;
};
#define SKERRY_CLIENT_OPTIONS                                                                                                              \
    {                                                                                                                                      \
        .size = sizeof(struct skerry_client_options)                                                                                       \
    }

// Belongs to the client, which fills it; later versions may add fields at its end.
struct skerry_client_reply {
    int status;                       // enum skerry_client_status of the request: OK, MISSING or an error
    int kind;                         // enum skerry_client_kind
    struct skerry_client_bytes bytes; // VALUE: it; ERROR: the server's words; ARRAY: what skerry_client_item() walks
    int64_t integer;                  // INTEGER, BOOLEAN (0 or 1)
    double number;                    // FLOAT
    size_t count;                     // ARRAY: items
    void *tag;                        // what the request was queued with
    const char *error;                // text of an error, NULL otherwise
};

struct skerry_client_topology {
    size_t size;     // of this structure, as the program knows it
    uint32_t shards; // 0: not known (yet), or fanout mode
    int direct;      // 1: requests go straight to shards
    int direct_base_port;
    int session_prefix; // 1: keys are routed by their session prefix
    uint64_t epoch;
    uint64_t frame_max; // the largest body of a request that the server takes
    uint64_t refreshed; // how often the topology has been learnt
};

// ---- a client

// Reads options (NULL: defaults) and resolves the address; connects nothing yet. *out is NULL when it fails, and skerry_client_failure()
// has the text.
SKERRY_CLIENT_CHECK int skerry_client_new(struct skerry_client **out, const struct skerry_client_options *options);

// Closes everything at once; outstanding requests are forgotten. NULL is allowed; gives NULL.
SKERRY_CLIENT_PUBLIC struct skerry_client *skerry_client_free(struct skerry_client *client);

// Blocks until the server has been asked for its topology (fanout mode: until the connection stands) or the first try failed.
// Not needed: any request connects. It is there for those who want to know at once whether the server is there.
SKERRY_CLIENT_CHECK int skerry_client_connect(struct skerry_client *client);

// Text of the last call that ended with a status from 16 on; never NULL.
SKERRY_CLIENT_PUBLIC const char *skerry_client_error(const struct skerry_client *client);

// The same for a skerry_client_new() of this thread that failed.
SKERRY_CLIENT_PUBLIC const char *skerry_client_failure(void);

// "timeout", "closed", ...; a static text.
SKERRY_CLIENT_PUBLIC const char *skerry_client_status_name(int status);
SKERRY_CLIENT_PUBLIC const char *skerry_client_version(void);

SKERRY_CLIENT_PUBLIC void skerry_client_topology(const struct skerry_client *client, struct skerry_client_topology *out);

// Bytes that the client holds now.
SKERRY_CLIENT_PUBLIC size_t skerry_client_memory(const struct skerry_client *client);

// ---- blocking verbs: one request and its reply. While queued requests are outstanding they end with SKERRY_CLIENT_BUSY.

// The value as a view; MISSING when there is none.
SKERRY_CLIENT_CHECK int skerry_client_get(struct skerry_client *client, const void *key, size_t key_length,
                                          struct skerry_client_bytes *value);
// The value copied into `buffer`; *length is its whole length. TOO_LARGE when it does not fit: then nothing is copied.
SKERRY_CLIENT_CHECK int skerry_client_get_copy(struct skerry_client *client, const void *key, size_t key_length, void *buffer,
                                               size_t capacity, size_t *length);
// GET that also sets the time to live, in milliseconds.
SKERRY_CLIENT_CHECK int skerry_client_getex(struct skerry_client *client, const void *key, size_t key_length, uint64_t ttl_ms,
                                            struct skerry_client_bytes *value);
// ttl_ms 0: without expiry (an earlier one is removed).
SKERRY_CLIENT_CHECK int skerry_client_set(struct skerry_client *client, const void *key, size_t key_length, const void *value,
                                          size_t value_length, uint64_t ttl_ms);
// Expires at unix_ms, milliseconds since 1970 by the server's clock. FCNP has no opcode for it: it travels as SET ... PXAT.
SKERRY_CLIENT_CHECK int skerry_client_set_at(struct skerry_client *client, const void *key, size_t key_length, const void *value,
                                             size_t value_length, uint64_t unix_ms);
// OK when the key was there, else MISSING.
SKERRY_CLIENT_CHECK int skerry_client_delete(struct skerry_client *client, const void *key, size_t key_length);
SKERRY_CLIENT_CHECK int skerry_client_exists(struct skerry_client *client, const void *key, size_t key_length);
// Seconds rounded up, -1 without expiry; MISSING when there is no such key.
SKERRY_CLIENT_CHECK int skerry_client_ttl(struct skerry_client *client, const void *key, size_t key_length, int64_t *seconds);
SKERRY_CLIENT_CHECK int skerry_client_expire(struct skerry_client *client, const void *key, size_t key_length, uint64_t ttl_ms);
// values[i] belongs to keys[i]; data is NULL where there is no (string) value. With direct ports each key is asked for at its shard, so
// that the values need not be of one moment; through the fanout port it is one MGET.
SKERRY_CLIENT_CHECK int skerry_client_mget(struct skerry_client *client, const struct skerry_client_bytes *keys, size_t count,
                                           struct skerry_client_bytes *values);
// Atomic over shards, therefore always one MSET through the fanout port.
SKERRY_CLIENT_CHECK int skerry_client_mset(struct skerry_client *client, const struct skerry_client_bytes *keys,
                                           const struct skerry_client_bytes *values, size_t count);
// The payload comes back; checked.
SKERRY_CLIENT_CHECK int skerry_client_ping(struct skerry_client *client, const void *payload, size_t length);
// A Redis command (opcode 200); *resp is the whole RESP2 reply, for skerry_client_resp_next(). keyed: argv[1] is its only key, and
// the command goes where that key lives; 0: it goes through the fanout port, with keys or without.
SKERRY_CLIENT_CHECK int skerry_client_command(struct skerry_client *client, const struct skerry_client_bytes *argv, size_t argc, int keyed,
                                              struct skerry_client_bytes *resp);
// Any opcode. `body` is what follows the routing prefix. `key`: what it is routed by (its bytes are not added to the body); NULL: it
// goes through the fanout port without routing prefix.
SKERRY_CLIENT_CHECK int skerry_client_request(struct skerry_client *client, uint8_t opcode, const void *key, size_t key_length,
                                              const void *body, size_t body_length, const struct skerry_client_reply **reply);

// ---- pipelining. Queueing sends nothing before step, flush or wait, so that a burst goes out in one piece per connection.
// Requests for one key are executed in the order in which they were queued; mget, mset, ping, unkeyed commands and raw requests
// without a key travel by the fanout port and have no order against the others.

SKERRY_CLIENT_CHECK int skerry_client_queue_get(struct skerry_client *client, const void *key, size_t key_length, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_getex(struct skerry_client *client, const void *key, size_t key_length, uint64_t ttl_ms,
                                                  void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_set(struct skerry_client *client, const void *key, size_t key_length, const void *value,
                                                size_t value_length, uint64_t ttl_ms, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_set_at(struct skerry_client *client, const void *key, size_t key_length, const void *value,
                                                   size_t value_length, uint64_t unix_ms, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_delete(struct skerry_client *client, const void *key, size_t key_length, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_exists(struct skerry_client *client, const void *key, size_t key_length, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_ttl(struct skerry_client *client, const void *key, size_t key_length, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_expire(struct skerry_client *client, const void *key, size_t key_length, uint64_t ttl_ms,
                                                   void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_mget(struct skerry_client *client, const struct skerry_client_bytes *keys, size_t count,
                                                 void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_mset(struct skerry_client *client, const struct skerry_client_bytes *keys,
                                                 const struct skerry_client_bytes *values, size_t count, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_ping(struct skerry_client *client, const void *payload, size_t length, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_command(struct skerry_client *client, const struct skerry_client_bytes *argv, size_t argc,
                                                    int keyed, void *tag);
SKERRY_CLIENT_CHECK int skerry_client_queue_request(struct skerry_client *client, uint8_t opcode, const void *key, size_t key_length,
                                                    const void *body, size_t body_length, void *tag);

// Hands to the kernel what it takes without blocking.
SKERRY_CLIENT_PUBLIC void skerry_client_flush(struct skerry_client *client);
// Sends, receives, connects, and ends what timed out, without blocking.
SKERRY_CLIENT_PUBLIC void skerry_client_step(struct skerry_client *client);
// OK and the reply of the oldest request, AGAIN, or EMPTY. The request's own fate is reply->status.
SKERRY_CLIENT_CHECK int skerry_client_next(struct skerry_client *client, const struct skerry_client_reply **reply);
// The same, but blocks until the reply is there or timed out: OK or EMPTY.
SKERRY_CLIENT_CHECK int skerry_client_wait(struct skerry_client *client, const struct skerry_client_reply **reply);
// One epoll descriptor over all connections and timers of this client: readable when skerry_client_step() has something to do.
// It stays the same for the client's life and belongs to the client.
SKERRY_CLIENT_PUBLIC int skerry_client_fd(const struct skerry_client *client);
// Requests queued whose replies were not taken.
SKERRY_CLIENT_PUBLIC size_t skerry_client_outstanding(const struct skerry_client *client);

// ---- reading replies

// The item at *cursor (0 at first) of an ARRAY reply: 1 and the item (data NULL: null), or 0 after the last.
SKERRY_CLIENT_PUBLIC int skerry_client_item(const struct skerry_client_reply *reply, size_t *cursor, struct skerry_client_bytes *item);

// One piece of a RESP2 reply. `type` is its first byte: '+' and '-' with bytes, ':' with integer, '$' with bytes (data NULL: null), '*'
// with integer = how many pieces follow as its items (-1: null array).
struct skerry_client_resp {
    char type;
    int64_t integer;
    struct skerry_client_bytes bytes;
};
// The piece at *cursor (0 at first): 1 and the piece, 0 at the end, -1 when the bytes are no RESP2.
SKERRY_CLIENT_PUBLIC int skerry_client_resp_next(struct skerry_client_bytes resp, size_t *cursor, struct skerry_client_resp *piece);

// ---- routing, for those who want to know

// XXH3-64 of the key, the hash on the wire.
SKERRY_CLIENT_PUBLIC uint64_t skerry_client_hash(const void *key, size_t key_length);
// The hash that routes when the server's route_mode is session_prefix.
SKERRY_CLIENT_PUBLIC uint64_t skerry_client_session_hash(const void *key, size_t key_length);
// The shard of a route hash; `shards` is a power of two.
SKERRY_CLIENT_PUBLIC uint32_t skerry_client_shard(uint64_t route_hash, uint32_t shards);

#ifdef __cplusplus
}
#endif
