// SPDX-License-Identifier: Apache-2.0
// A fork copies locks as they are: were one held by another thread, nobody would ever give it back in the child. So whoever forks takes
// all locks of all shared stores first, in the order of the list, and both sides give them back.
#include "engine/embed/embed.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct core *list;

static void each_lock(int (*step)(pthread_mutex_t *))
{
    for (struct core *c = list; c != NULL; c = c->next) {
        for (uint32_t i = 0; c->locks && i < c->route.shards; i++)
            step(&c->shards[i].lock);
    }
}

static void before_fork(void)
{
    pthread_mutex_lock(&list_lock);
    each_lock(pthread_mutex_lock);
}

static void after_fork(void)
{
    each_lock(pthread_mutex_unlock);
    pthread_mutex_unlock(&list_lock);
}

static void install(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

void fork_register(struct core *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    pthread_mutex_lock(&list_lock);
    c->prev = NULL;
    c->next = list;
    if (list != NULL)
        list->prev = c;
    list = c;
    pthread_mutex_unlock(&list_lock);
}

void fork_unregister(struct core *c)
{
    pthread_mutex_lock(&list_lock);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        list = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&list_lock);
}
