// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/client_internal.h"
#include "bench/dial.h"

enum { RING_ENTRIES = 1024 };

int client_fail(struct client *c, int rc, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->failure, sizeof c->failure, format, arguments);
    va_end(arguments);
    return rc;
}

static uint32_t power_of_two_from(uint64_t value)
{
    uint32_t power = 1;
    while (power < value)
        power *= 2;
    return power;
}

static int connection_open(struct client *c, struct connection *conn)
{
    char port[16];
    snprintf(port, sizeof port, "%u", c->topology->direct_base_port + conn->shard);
    conn->fd = dial(c->options, c->topology->shards > 0 ? port : c->options->port, c->failure, sizeof c->failure);
    if (conn->fd < 0)
        return conn->fd;
    reply_scan_init(&conn->scan, c->options->verify);
    conn->out = malloc(c->out_size + WORKLOAD_SLACK);
    conn->slots = malloc(((size_t)c->slot_mask + 1) * sizeof *conn->slots);
    return conn->out == NULL || conn->slots == NULL ? client_fail(c, -ENOMEM, "out of memory") : 0;
}

int client_open(struct client *c, const struct options *o, const struct topology *t, uint32_t index, uint32_t first, uint32_t connections,
                uint32_t pipeline_max, uint64_t request_max, atomic_bool *stop)
{
    memset(c, 0, sizeof *c);
    c->options = o;
    c->topology = t;
    c->index = index;
    c->stop = stop;
    c->slot_mask = power_of_two_from(pipeline_max) - 1;
    c->out_size = pipeline_max * request_max;
    if (c->out_size > 64 * 1024)
        c->out_size = request_max > 64 * 1024 ? request_max : 64 * 1024;
    c->connections = calloc(connections, sizeof *c->connections);
    c->ready = malloc(connections * sizeof *c->ready);
    if (c->connections == NULL || c->ready == NULL)
        return client_fail(c, -ENOMEM, "out of memory");
    for (uint32_t i = 0; i < connections; i++) {
        c->connections[i].fd = -1;
        c->connections[i].shard = t->shards > 0 ? (first + i) % t->shards : 0;
        c->connection_count++;
        int rc = connection_open(c, &c->connections[i]);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void client_close(struct client *c)
{
    if (c->ring_open)
        io_uring_queue_exit(&c->ring);
    if (c->buffers != NULL)
        munmap(c->buffers, c->buffer_count * sizeof(struct io_uring_buf));
    if (c->buffer_memory != NULL)
        munmap(c->buffer_memory, (size_t)c->buffer_count * c->buffer_size);
    for (uint32_t i = 0; i < c->connection_count; i++) {
        if (c->connections[i].fd >= 0)
            close(c->connections[i].fd);
        free(c->connections[i].out);
        free(c->connections[i].slots);
    }
    free(c->connections);
    free(c->ready);
}

static void *pages(size_t size)
{
    void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return area == MAP_FAILED ? NULL : area;
}

void client_buffer_give(struct client *c, uint32_t id, int offset)
{
    io_uring_buf_ring_add(c->buffers, c->buffer_memory + (size_t)id * c->buffer_size, c->buffer_size, (unsigned short)id,
                          (int)c->buffer_count - 1, offset);
}

// Bytes of replies that a connection may be owed at once, at most.
static uint64_t replies_bytes_max(const struct options *o)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < o->size_count; i++)
        if (o->sizes[i].bytes > largest)
            largest = o->sizes[i].bytes;
    return (largest + 16) * o->pipeline * (o->mix[OP_MGET] > 0 ? o->batch : 1);
}

// Enough buffers that each connection can have one filled in a turn, big ones when replies are big.
static int buffers_open(struct client *c)
{
    bool big = replies_bytes_max(c->options) > 16 * 1024;
    c->buffer_size = big ? 64 * 1024 : 8 * 1024;
    c->buffer_count = power_of_two_from(c->connection_count < 64 ? 64 : c->connection_count);
    if (c->buffer_count > (big ? 256 : 4096))
        c->buffer_count = big ? 256 : 4096;
    c->buffers = pages(c->buffer_count * sizeof(struct io_uring_buf));
    c->buffer_memory = pages((size_t)c->buffer_count * c->buffer_size);
    if (c->buffers == NULL || c->buffer_memory == NULL)
        return client_fail(c, -ENOMEM, "out of memory for receive buffers");
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)c->buffers,
        .ring_entries = c->buffer_count,
        .bgid = CLIENT_BUFFER_GROUP,
    };
    int rc = io_uring_register_buf_ring(&c->ring, &registration, 0);
    if (rc != 0)
        return client_fail(c, rc, "cannot register receive buffers (Linux 5.19 or newer is needed): %s", strerror(-rc));
    io_uring_buf_ring_init(c->buffers);
    for (uint32_t i = 0; i < c->buffer_count; i++)
        client_buffer_give(c, i, (int)i);
    io_uring_buf_ring_advance(c->buffers, (int)c->buffer_count);
    return 0;
}

int client_open_ring(struct client *c)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
        .cq_entries = power_of_two_from(4096 + 4 * (uint64_t)c->connection_count),
    };
    int rc = io_uring_queue_init_params(RING_ENTRIES, &c->ring, &params);
    if (rc == -EINVAL) {
        params.flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        rc = io_uring_queue_init_params(RING_ENTRIES, &c->ring, &params);
    }
    if (rc != 0)
        return client_fail(c, rc, "cannot set up io_uring: %s", strerror(-rc));
    c->ring_open = true;
    io_uring_register_ring_fd(&c->ring); // only saves time
    return buffers_open(c);
}
