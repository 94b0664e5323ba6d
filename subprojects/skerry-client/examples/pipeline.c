// SPDX-License-Identifier: Apache-2.0
// Many requests under way at the same time, answered in the order in which they were queued.   pipeline [ADDRESS]
#include <skerry/client.h>
#include <stdio.h>
#include <string.h>

enum { COUNT = 10000 };

int main(int argc, char **argv)
{
    struct skerry_client_options options = SKERRY_CLIENT_OPTIONS;
    const struct skerry_client_reply *reply;
    struct skerry_client *client;
    char key[32];
    int queued = 0, good = 0;
    options.address = argc > 1 ? argv[1] : "127.0.0.1:6380";
    if (skerry_client_new(&client, &options) != SKERRY_CLIENT_OK) {
        fprintf(stderr, "%s\n", skerry_client_failure());
        return 1;
    }
    for (int taken = 0; taken < COUNT; taken++) {
        while (queued < COUNT) {
            size_t length = (size_t)snprintf(key, sizeof key, "counter:%d", queued);
            int status = skerry_client_queue_set(client, key, length, "0", 1, 0, NULL);
            if (status == SKERRY_CLIENT_FULL) // enough for now: take a reply first
                break;
            if (status != SKERRY_CLIENT_OK) {
                fprintf(stderr, "%s\n", skerry_client_error(client));
                skerry_client_free(client);
                return 1;
            }
            queued++;
        }
        if (skerry_client_wait(client, &reply) != SKERRY_CLIENT_OK)
            break;
        if (reply->status == SKERRY_CLIENT_OK)
            good++;
        else
            fprintf(stderr, "request %d: %s\n", taken, reply->error);
    }
    printf("%d of %d keys were set\n", good, COUNT);
    skerry_client_free(client);
    return good != COUNT;
}
