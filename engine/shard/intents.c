// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/intents.h"

#include <errno.h>
#include <stdlib.h>

#define CHAINS_MIN 64

static const bool COMPATIBLE[INTENT_MODES][INTENT_MODES] = {
    [INTENT_SHARED] = { [INTENT_SHARED] = true, [INTENT_SOME_SHARED] = true },
    [INTENT_EXCLUSIVE] = { false },
    [INTENT_SOME_SHARED] = { [INTENT_SHARED] = true, [INTENT_SOME_SHARED] = true, [INTENT_SOME_EXCLUSIVE] = true },
    [INTENT_SOME_EXCLUSIVE] = { [INTENT_SOME_SHARED] = true, [INTENT_SOME_EXCLUSIVE] = true },
};

static void queue_init(struct intent_queue *q, uint64_t print)
{
    *q = (struct intent_queue){ .node = { .hash = print } };
    list_init(&q->intents);
    q->asks = &q->intents;
}

int intents_init(struct intents *t)
{
    *t = (struct intents){ 0 };
    queue_init(&t->root, 0);
    list_init(&t->ready);
    return chains_init(&t->queues, CHAINS_MIN);
}

void intents_deinit(struct intents *t)
{
    assert(t->count == 0 && t->queues.count == 0);
    free_list_deinit(&t->free);
    chains_deinit(&t->queues);
}

void ticket_init(struct ticket *t, struct intent *intents, uint32_t count, enum intent_mode root)
{
    t->intents = intents;
    t->count = count;
    t->waiting = 0;
    list_init(&t->link);
    intents[0] = (struct intent){ .mode = (uint8_t)root };
}

void ticket_key(struct ticket *t, uint32_t at, uint64_t print, bool exclusive)
{
    assert(at > 0 && at < t->count);
    t->intents[at] = (struct intent){ .print = print, .mode = exclusive ? INTENT_EXCLUSIVE : INTENT_SHARED };
}

// ---- queues

static struct intent_queue *find(const struct intents *t, uint64_t print)
{
    struct chained *node = chains_first(&t->queues, print);
    return node != NULL ? container_of(node, struct intent_queue, node) : NULL;
}

static int reserve(struct intents *t, uint32_t queues)
{
    while (t->free.count < queues) {
        struct intent_queue *q = malloc(sizeof *q);
        if (q == NULL)
            return -ENOMEM;
        free_list_keep(&t->free, q);
    }
    return 0;
}

static struct intent_queue *open_queue(struct intents *t, uint64_t print)
{
    struct intent_queue *q = find(t, print);
    if (q != NULL)
        return q;
    q = free_list_take(&t->free);
    assert(q != NULL); // reserved
    queue_init(q, print);
    chains_insert(&t->queues, &q->node, print);
    return q;
}

static void close_queue(struct intents *t, struct intent_queue *q)
{
    if (q == &t->root || !list_empty(&q->intents))
        return;
    chains_remove(&t->queues, &q->node);
    free_list_give(&t->free, q);
}

// ---- granting

static bool may_grant(const struct intent_queue *q, enum intent_mode mode)
{
    for (int other = 0; other < INTENT_MODES; other++)
        if (q->granted[other] > 0 && !COMPATIBLE[mode][other])
            return false;
    return true;
}

static void grant(struct intents *t, struct intent_queue *q)
{
    while (q->asks != &q->intents) {
        struct intent *i = container_of(q->asks, struct intent, link);
        if (!may_grant(q, (enum intent_mode)i->mode))
            return;
        i->granted = true;
        q->granted[i->mode]++;
        q->asks = i->link.next;
        assert(i->ticket->waiting > 0);
        if (--i->ticket->waiting == 0)
            list_append(&t->ready, &i->ticket->link);
    }
}

static void stand(struct intent_queue *q, struct ticket *t, struct intent *i)
{
    i->ticket = t;
    struct intent *last = list_empty(&q->intents) ? NULL : container_of(q->intents.prev, struct intent, link);
    if (last != NULL && last->ticket == t) {
        // The key stands here already, nothing has been granted to this ticket yet: as the stronger of the two.
        i->queue = NULL;
        if (i->mode == INTENT_EXCLUSIVE && last->mode == INTENT_SHARED) {
            q->live[INTENT_SHARED]--;
            q->live[INTENT_EXCLUSIVE]++;
            last->mode = INTENT_EXCLUSIVE;
        }
        return;
    }
    i->queue = q;
    i->granted = false;
    list_append(&q->intents, &i->link);
    if (q->asks == &q->intents)
        q->asks = &i->link;
    q->live[i->mode]++;
    t->waiting++;
}

int intents_enqueue(struct intents *table, struct ticket *t)
{
    int result = reserve(table, t->count);
    if (result != 0)
        return result;
    table->count++;
    t->waiting = 0;
    stand(&table->root, t, &t->intents[0]);
    for (uint32_t i = 1; i < t->count; i++)
        stand(open_queue(table, t->intents[i].print), t, &t->intents[i]);
    for (uint32_t i = 0; i < t->count; i++)
        if (t->intents[i].queue != NULL)
            grant(table, t->intents[i].queue);
    return 0;
}

void intents_release(struct intents *table, struct ticket *t)
{
    assert(t->waiting == 0 && list_empty(&t->link) && table->count > 0);
    for (uint32_t at = 0; at < t->count; at++) {
        struct intent *i = &t->intents[at];
        struct intent_queue *q = i->queue;
        if (q == NULL)
            continue;
        assert(i->granted);
        list_remove(&i->link);
        q->live[i->mode]--;
        q->granted[i->mode]--;
        i->queue = NULL;
        grant(table, q);
        close_queue(table, q);
    }
    table->count--;
}

struct ticket *intents_take(struct intents *table)
{
    struct list *node = list_take_first(&table->ready);
    return node != NULL ? container_of(node, struct ticket, link) : NULL;
}

bool intents_conflict(const struct intents *table, uint64_t print, bool exclusive)
{
    const uint32_t *root = table->root.live;
    if (root[INTENT_EXCLUSIVE] > 0 || (exclusive && root[INTENT_SHARED] > 0))
        return true;
    const struct intent_queue *q = find(table, print);
    return q != NULL && (exclusive || q->live[INTENT_EXCLUSIVE] > 0);
}

bool intents_conflict_all(const struct intents *table)
{
    return table->root.live[INTENT_EXCLUSIVE] > 0 || table->root.live[INTENT_SOME_EXCLUSIVE] > 0;
}

// An exclusive intent is granted in front of its queue only; of the root's (all keys) likewise.
static const struct ticket *front_of(const struct intent_queue *q)
{
    return q->granted[INTENT_EXCLUSIVE] > 0 ? container_of(q->intents.next, struct intent, link)->ticket : NULL;
}

const struct ticket *intents_holder(const struct intents *table, uint64_t print)
{
    const struct ticket *t = front_of(&table->root);
    const struct intent_queue *q = t == NULL ? find(table, print) : NULL;
    return q != NULL ? front_of(q) : t;
}

static bool queue_sound(struct intent_queue *q)
{
    uint32_t live[INTENT_MODES] = { 0 }, granted[INTENT_MODES] = { 0 };
    bool behind = false;
    for (struct list *node = q->intents.next; node != &q->intents; node = node->next) {
        const struct intent *i = container_of(node, struct intent, link);
        behind |= node == q->asks;
        live[i->mode]++;
        granted[i->mode] += i->granted;
        if (i->queue != q || i->print != q->node.hash || i->granted == behind)
            return false;
    }
    for (int mode = 0; mode < INTENT_MODES; mode++)
        if (live[mode] != q->live[mode] || granted[mode] != q->granted[mode])
            return false;
    // Nobody waits without a reason.
    return q->asks == &q->intents || !may_grant(q, (enum intent_mode)container_of(q->asks, struct intent, link)->mode);
}

bool intents_sound(struct intents *table)
{
    uint32_t queues = 0;
    chains_for_each(node, &table->queues)
    {
        struct intent_queue *q = container_of(node, struct intent_queue, node);
        if (list_empty(&q->intents) || !queue_sound(q))
            return false;
        queues++;
    }
    uint32_t roots = 0;
    for (int mode = 0; mode < INTENT_MODES; mode++)
        roots += table->root.live[mode];
    return queues == table->queues.count && roots == table->count && queue_sound(&table->root);
}
