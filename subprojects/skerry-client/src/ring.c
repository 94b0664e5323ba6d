// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include <string.h>

enum { RING_MIN = 64 };

int skc_ring_reserve(struct skerry_client *c)
{
    size_t count = (size_t)(c->tail - c->head);
    if (count >= c->options.requests_max)
        return skc_error(c, SKERRY_CLIENT_FULL, "requests_max (%zu) requests are outstanding: take replies first", count);
    if (count < c->ring_size)
        return SKERRY_CLIENT_OK;
    size_t size = c->ring_size == 0 ? RING_MIN : c->ring_size * 2;
    struct request *requests = skc_memory_resize(&c->memory, NULL, 0, size * sizeof *requests);
    if (requests == NULL)
        return skc_error(c, SKERRY_CLIENT_MEMORY, "no memory for %zu requests within memory_max (%zu bytes)", size, c->memory.max);
    for (uint64_t at = c->head; at != c->tail; at++)
        requests[at & (size - 1)] = *skc_request(c, at);
    if (c->requests != NULL)
        skc_memory_resize(&c->memory, c->requests, c->ring_size * sizeof *requests, 0);
    c->requests = requests;
    c->ring_size = size;
    return SKERRY_CLIENT_OK;
}

static void chain(struct lane *lane, uint64_t sequence)
{
    if (lane->unanswered_count == 0)
        lane->unanswered = sequence;
    else
        skc_request(lane->client, lane->last)->next = sequence;
    if (lane->unsent_count == 0)
        lane->unsent = sequence;
    lane->last = sequence;
    lane->unanswered_count++;
    lane->unsent_count++;
    lane->untaken_count++;
}

void skc_ring_append(struct skerry_client *c, const struct request *request)
{
    uint64_t sequence = c->tail++;
    *skc_request(c, sequence) = *request;
    request->lane->out.end += request->frame_length;
    chain(request->lane, sequence);
}

void skc_ring_answer(struct lane *lane, uint64_t reply_length)
{
    struct request *r = skc_request(lane->client, lane->unanswered);
    r->state = REQUEST_ANSWERED;
    r->frame_length = reply_length;
    lane->unanswered = r->next;
    lane->unanswered_count--;
}

// Takes the oldest unsent request off the lane's unsent ones, with its frame.
static struct request *pop_unsent(struct lane *lane)
{
    struct request *r = skc_request(lane->client, lane->unsent);
    skc_buffer_consume(&lane->out, r->frame_length);
    lane->unsent = r->next;
    lane->unsent_count--;
    return r;
}

void skc_ring_sent(struct lane *lane, size_t bytes)
{
    lane->sent_of_front += bytes;
    while (lane->unsent_count > 0) {
        size_t length = (size_t)skc_request(lane->client, lane->unsent)->frame_length;
        if (lane->sent_of_front < length)
            break;
        lane->sent_of_front -= length;
        pop_unsent(lane)->state = REQUEST_SENT;
    }
}

static void end(struct request *r, int status, int error_number, const char *why)
{
    r->state = REQUEST_FAILED;
    r->status = (uint8_t)status;
    r->error_number = error_number;
    r->why = why;
}

void skc_ring_fail_sent(struct lane *lane, int status, int error_number, const char *why)
{
    while (lane->unanswered_count > lane->unsent_count) {
        struct request *r = skc_request(lane->client, lane->unanswered);
        end(r, status, error_number, why);
        lane->unanswered = r->next;
        lane->unanswered_count--;
    }
}

// Only when no sent one is left before it, and nothing of its frame is on the way.
static void fail_front(struct lane *lane, int status, int error_number, const char *why)
{
    struct request *r = pop_unsent(lane);
    end(r, status, error_number, why);
    lane->unanswered = r->next;
    lane->unanswered_count--;
}

void skc_ring_fail_unsent(struct lane *lane, int status, int error_number, const char *why)
{
    size_t sent = lane->unanswered_count - lane->unsent_count;
    uint64_t last = lane->unanswered;
    for (size_t i = 1; i < sent; i++)
        last = skc_request(lane->client, last)->next;
    while (lane->unsent_count > 0)
        end(pop_unsent(lane), status, error_number, why);
    lane->unanswered_count = sent;
    lane->last = last;
}

void skc_ring_expire_unsent(struct lane *lane, int64_t now)
{
    while (lane->unsent_count > 0 && skc_request(lane->client, lane->unsent)->deadline <= now) {
        // Limbo, and a shard after a loss, wait for the topology.
        const struct lane *discovery = &lane->client->discovery;
        const struct lane *cause = lane->role == LANE_LIMBO || (lane->role == LANE_SHARD && discovery->failures > 0) ? discovery : lane;
        bool ended = cause->lost_status == SKERRY_CLIENT_CLOSED || cause->lost_status == SKERRY_CLIENT_TIMEOUT;
        if (cause->lost_status == 0 || cause->failures == 0)
            fail_front(lane, SKERRY_CLIENT_TIMEOUT, 0, "it could not be sent in time");
        else // what ended a connection before this request was sent says nothing of its execution
            fail_front(lane, ended ? SKERRY_CLIENT_UNREACHABLE : cause->lost_status, cause->lost_errno, cause->lost_why);
    }
}

// Moves every request of a lane of unsent ones to the lane that is chosen for it, in order; choosing may change the frame's bytes (it
// gives back the lane, or NULL when there is no memory). A request that cannot be moved ends. 0, or the number that ended.
int skc_ring_move(struct lane *from, struct lane *(*choose)(struct skerry_client *, struct request *, unsigned char *frame))
{
    struct skerry_client *c = from->client;
    int ended = 0;
    while (from->unsent_count > 0) {
        uint64_t sequence = from->unsent;
        struct request *r = skc_request(c, sequence);
        uint64_t old_length = r->frame_length;
        unsigned char *frame = from->out.data + from->out.start;
        struct lane *to = choose(c, r, frame);
        if (to == NULL || skc_buffer_reserve(&to->out, r->frame_length) != 0) {
            r->frame_length = old_length;
            fail_front(from, SKERRY_CLIENT_MEMORY, 0, "no memory to send it within memory_max");
            ended++;
            continue;
        }
        // What choosing took away was taken from the frame's start.
        memcpy(to->out.data + to->out.end, frame + (old_length - r->frame_length), r->frame_length);
        to->out.end += r->frame_length;
        skc_buffer_consume(&from->out, old_length);
        from->unsent = from->unanswered = r->next;
        from->unsent_count--;
        from->unanswered_count--;
        from->untaken_count--;
        r->lane = to;
        chain(to, sequence);
    }
    return ended;
}
