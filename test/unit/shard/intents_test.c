// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/intents.h"

#include <stdlib.h>

#include "base/prng.h"
#include "base/test.h"

#define KEYS    6
#define PER_MAX 4
#define TICKETS 40

struct holder {
    struct ticket ticket;
    struct intent intents[PER_MAX + 1];
};

static struct intents table;

static void set_up(void)
{
    check_equal(intents_init(&table), 0);
}

static void make(struct holder *h, enum intent_mode root, uint32_t keys, const uint64_t *prints, bool exclusive)
{
    ticket_init(&h->ticket, h->intents, keys + 1, root);
    for (uint32_t i = 0; i < keys; i++)
        ticket_key(&h->ticket, i + 1, prints[i], exclusive);
}

static void enqueue(struct holder *h, uint64_t print, bool exclusive)
{
    make(h, exclusive ? INTENT_SOME_EXCLUSIVE : INTENT_SOME_SHARED, 1, &print, exclusive);
    check_equal(intents_enqueue(&table, &h->ticket), 0);
}

static bool next_is(const struct holder *h)
{
    return intents_take(&table) == &h->ticket;
}

static void readers_share_a_key_and_a_writer_waits_for_all_of_them(void)
{
    struct holder a, b, writer;
    set_up();
    enqueue(&a, 7, false);
    enqueue(&b, 7, false);
    enqueue(&writer, 7, true);
    check(next_is(&a));
    check(next_is(&b));
    check(intents_take(&table) == NULL);
    intents_release(&table, &b.ticket);
    check(intents_take(&table) == NULL);
    intents_release(&table, &a.ticket);
    check(next_is(&writer));
    intents_release(&table, &writer.ticket);
    intents_deinit(&table);
}

static void a_reader_does_not_pass_a_writer_that_waits(void)
{
    struct holder a, writer, late;
    set_up();
    enqueue(&a, 7, false);
    enqueue(&writer, 7, true);
    check(intents_conflict_all(&table));
    enqueue(&late, 7, false);
    check(next_is(&a));
    check(intents_conflict(&table, 7, false));
    intents_release(&table, &a.ticket);
    check(next_is(&writer));
    check(intents_take(&table) == NULL);
    intents_release(&table, &writer.ticket);
    check(next_is(&late));
    intents_release(&table, &late.ticket);
    intents_deinit(&table);
}

static void one_who_wants_all_keys_waits_for_everybody_and_holds_up_the_rest(void)
{
    struct holder a, all, late;
    set_up();
    enqueue(&a, 7, true);
    make(&all, INTENT_EXCLUSIVE, 0, NULL, true);
    check_equal(intents_enqueue(&table, &all.ticket), 0);
    enqueue(&late, 8, false);
    check(next_is(&a));
    check(intents_conflict(&table, 99, false));
    intents_release(&table, &a.ticket);
    check(next_is(&all));
    check(intents_take(&table) == NULL);
    intents_release(&table, &all.ticket);
    check(next_is(&late));
    intents_release(&table, &late.ticket);
    intents_deinit(&table);
}

static void who_reads_all_keys_lets_readers_pass_and_no_writer(void)
{
    struct holder all;
    set_up();
    make(&all, INTENT_SHARED, 0, NULL, false);
    check_equal(intents_enqueue(&table, &all.ticket), 0);
    check(next_is(&all));
    check(!intents_conflict(&table, 7, false));
    check(!intents_conflict_all(&table));
    check(intents_conflict(&table, 7, true));
    intents_release(&table, &all.ticket);
    check(!intents_conflict(&table, 7, true));
    intents_deinit(&table);
}

static void a_key_named_twice_counts_once_as_the_stronger(void)
{
    struct holder twice, other;
    uint64_t prints[] = { 7, 8, 7 };
    set_up();
    make(&twice, INTENT_SOME_EXCLUSIVE, 3, prints, false);
    ticket_key(&twice.ticket, 3, 7, true);
    check_equal(intents_enqueue(&table, &twice.ticket), 0);
    check(next_is(&twice));
    enqueue(&other, 7, false);
    check(intents_take(&table) == NULL);
    check(!intents_conflict(&table, 8, false));
    intents_release(&table, &twice.ticket);
    check(next_is(&other));
    intents_release(&table, &other.ticket);
    check_equal(table.queues.count, 0);
    intents_deinit(&table);
}

// ---- against a model that looks at every pair

struct model {
    struct holder holder;
    bool live, ready;
    uint64_t born;
    bool all, exclusive;
    bool key[KEYS];
};

static bool clash(const struct model *early, const struct model *late)
{
    if (!early->exclusive && !late->exclusive)
        return false;
    if (early->all || late->all)
        return true;
    for (int k = 0; k < KEYS; k++)
        if (early->key[k] && late->key[k])
            return true;
    return false;
}

static bool must_wait(const struct model *models, const struct model *who)
{
    for (int i = 0; i < TICKETS; i++) {
        const struct model *m = &models[i];
        if (m->live && m->born < who->born && clash(m, who))
            return true;
    }
    return false;
}

static void born(struct model *m, struct prng *prng, uint64_t now)
{
    *m = (struct model){ .live = true, .born = now, .all = prng_below(prng, 12) == 0, .exclusive = prng_below(prng, 2) == 0 };
    uint64_t prints[PER_MAX];
    uint32_t count = m->all ? 0 : 1 + (uint32_t)prng_below(prng, PER_MAX);
    for (uint32_t i = 0; i < count; i++) {
        prints[i] = prng_below(prng, KEYS);
        m->key[prints[i]] = true;
    }
    enum intent_mode some = m->exclusive ? INTENT_SOME_EXCLUSIVE : INTENT_SOME_SHARED;
    enum intent_mode all = m->exclusive ? INTENT_EXCLUSIVE : INTENT_SHARED;
    make(&m->holder, m->all ? all : some, count, prints, m->exclusive);
    check_equal(intents_enqueue(&table, &m->holder.ticket), 0);
}

static void thousands_of_tickets_come_in_turn_and_never_beside_one_that_clashes(void)
{
    static struct model models[TICKETS];
    struct prng prng;
    prng_init(&prng, 17);
    set_up();
    uint32_t live = 0, served = 0;
    for (uint64_t now = 0; now < 40000 || live > 0; now++) {
        struct model *m = &models[prng_below(&prng, TICKETS)];
        if (m->live && m->ready) {
            intents_release(&table, &m->holder.ticket);
            m->live = false;
            live--;
        } else if (!m->live && now < 40000) {
            born(m, &prng, now);
            live++;
        }
        struct ticket *t;
        while ((t = intents_take(&table)) != NULL) {
            struct model *ready = container_of(container_of(t, struct holder, ticket), struct model, holder);
            check(!must_wait(models, ready));
            ready->ready = true;
            served++;
        }
        check(intents_sound(&table));
    }
    check(served > 1000);
    check_equal(table.queues.count, 0);
    intents_deinit(&table);
}

TESTS(TEST(readers_share_a_key_and_a_writer_waits_for_all_of_them), TEST(a_reader_does_not_pass_a_writer_that_waits),
      TEST(one_who_wants_all_keys_waits_for_everybody_and_holds_up_the_rest), TEST(who_reads_all_keys_lets_readers_pass_and_no_writer),
      TEST(a_key_named_twice_counts_once_as_the_stronger), TEST(thousands_of_tickets_come_in_turn_and_never_beside_one_that_clashes))
