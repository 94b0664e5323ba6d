// SPDX-License-Identifier: Apache-2.0
// Any bytes as a server's: first straight into the readers, then over a socket into a client with requests of all kinds under way.
// Whatever they are, nothing may crash, leak, pass memory_max, or leave a request without an end.
#include "../src/topology.h"
#include "../src/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MEMORY_MAX = 1 << 20 };

static size_t used;

static void *counted(void *context, void *old, size_t old_size, size_t size)
{
    (void)context;
    used += size - old_size;
    if (used > MEMORY_MAX)
        abort();
    if (size == 0) {
        free(old);
        return NULL;
    }
    return realloc(old, size);
}

// Touches every byte of a view, so that one outside of its buffer is seen.
static void touch(struct skerry_client_bytes bytes)
{
    static volatile unsigned char seen; // a read that no compiler leaves out
    for (size_t i = 0; i < bytes.length; i++)
        seen = ((const unsigned char *)bytes.data)[i];
    (void)seen;
}

static void read_reply(const struct skerry_client_reply *reply)
{
    struct skerry_client_bytes item;
    struct skerry_client_resp piece;
    size_t cursor = 0, count = 0;
    touch(reply->bytes);
    while (skerry_client_item(reply, &cursor, &item)) {
        touch(item);
        count++;
    }
    if (count != reply->count)
        abort();
    cursor = 0;
    while (reply->kind == SKERRY_CLIENT_KIND_VALUE && skerry_client_resp_next(reply->bytes, &cursor, &piece) == 1)
        touch(piece.bytes);
}

static void read_bytes(const unsigned char *data, size_t size)
{
    uint64_t length = 0;
    const char *why = NULL;
    struct skerry_client_reply reply = { 0 };
    struct topology topology;
    if (skc_wire_frame(data, size, &length, &why) != 1 || length > size || skc_wire_reply(data, length, &reply, &why) != 0)
        return;
    read_reply(&reply);
    if (reply.kind == SKERRY_CLIENT_KIND_ARRAY && skc_topology_read(&topology, &reply, &why) == 0 &&
        (topology.shards == 0 || topology.shards > SHARDS_MAX))
        abort();
}

static void queue(struct skerry_client *client, unsigned what)
{
    struct skerry_client_bytes two[] = { { "GET", 3 }, { "key", 3 } };
    int status;
    switch (what % 8) {
    case 0:
        status = skerry_client_queue_get(client, "key", 3, NULL);
        break;
    case 1:
        status = skerry_client_queue_set(client, "key", 3, "value", 5, what, NULL);
        break;
    case 2:
        status = skerry_client_queue_ttl(client, "key", 3, NULL);
        break;
    case 3:
        status = skerry_client_queue_mget(client, two, 2, NULL);
        break;
    case 4:
        status = skerry_client_queue_ping(client, "p", 1, NULL);
        break;
    case 5:
        status = skerry_client_queue_command(client, two, 2, 1, NULL);
        break;
    default:
        status = skerry_client_queue_request(client, (uint8_t)what, "key", 3, "x", 1, NULL);
    }
    (void)status;
}

static int listener(char path[64])
{
    static int fd = -1;
    static struct sockaddr_un where = { .sun_family = AF_UNIX };
    if (fd < 0) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        snprintf(where.sun_path, sizeof where.sun_path, "/tmp/skerry-fuzz-client-%d", (int)getpid());
        unlink(where.sun_path);
        if (bind(fd, (struct sockaddr *)&where, sizeof where) != 0 || listen(fd, 8) != 0)
            abort();
    }
    snprintf(path, 64, "%s", where.sun_path);
    return fd;
}

static void take_replies(struct skerry_client *client)
{
    const struct skerry_client_reply *reply;
    while (skerry_client_next(client, &reply) == SKERRY_CLIENT_OK)
        read_reply(reply);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    char path[64];
    struct skerry_client *client;
    read_bytes(data, size);
    if (size < 4)
        return 0;
    int listening = listener(path);
    unsigned chunk = 1 + data[0] * 4u, kinds = data[1], password = data[2] & 1;
    struct skerry_client_options options = { .size = sizeof options,
                                             .address = path,
                                             .reply_max = 1 << 16,
                                             .receive_max = 1 << (data[3] % 16),
                                             .memory_max = MEMORY_MAX,
                                             .resize = counted,
                                             .password = password ? "secret" : NULL,
                                             .request_timeout_ms = -1,
                                             .connect_timeout_ms = -1 };
    data += 4;
    size -= 4;
    if (skerry_client_new(&client, &options) != SKERRY_CLIENT_OK)
        abort();
    for (unsigned i = 0; i < 1 + kinds % 16; i++)
        queue(client, kinds + i);
    skerry_client_step(client);
    int server = accept(listening, NULL, NULL);
    while (size > 0) {
        size_t part = size < chunk ? size : chunk;
        ssize_t sent = send(server, data, part, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
        }
        skerry_client_step(client);
        take_replies(client);
        if (sent <= 0)
            break;
    }
    close(server);
    skerry_client_step(client); // sees the end; what was sent has ended now, what was not may be on a second connection
    take_replies(client);
    skerry_client_free(client);
    if (used != 0)
        abort();
    for (int left; (left = accept(listening, NULL, NULL)) >= 0;) // connections that nobody served
        close(left);
    return 0;
}
