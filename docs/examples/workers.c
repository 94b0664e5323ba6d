// SPDX-License-Identifier: Apache-2.0
// Two workers, each with a store of its own that takes no lock. A key's shard says whose it is.
//
//   cc workers.c $(pkg-config --cflags --libs skerry) -pthread
#include <pthread.h>
#include <skerry/skerry.h>
#include <stdio.h>

#define WORKERS 2
#define KEYS    1000

struct worker {
    struct skerry *store;
    int kept;
};

static void *work(void *context)
{
    struct worker *w = (struct worker *)context;
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        int len = snprintf(key, sizeof key, "key:%d", i);
        // Others' keys are refused; a program would pass them on to their worker.
        if (skerry_set(w->store, key, (size_t)len, &i, sizeof i, SKERRY_NO_TTL) == SKERRY_OK)
            w->kept++;
    }
    return NULL;
}

int main(void)
{
    struct skerry_options options = skerry_options_default();
    options.shards = 4; // worker w owns shards w and w + 2
    struct skerry *store, *locals[WORKERS];
    if (skerry_open(&store, &options) != SKERRY_OK || skerry_split(store, WORKERS, locals) != SKERRY_OK)
        return 1;

    struct worker workers[WORKERS];
    pthread_t threads[WORKERS];
    int kept = 0;
    for (int i = 0; i < WORKERS; i++) {
        workers[i].store = locals[i];
        workers[i].kept = 0;
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            return 1;
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
        kept += workers[i].kept;
        skerry_close(locals[i]);
    }
    printf("%d keys kept, each by one worker\n", kept);
    return kept == KEYS ? 0 : 1;
}
