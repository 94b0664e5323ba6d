// SPDX-License-Identifier: Apache-2.0
// A client in somebody else's event loop: one descriptor to poll, nothing that blocks.   event-loop [ADDRESS]
#include <poll.h>
#include <skerry/client.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static const char *const keys[] = { "apple", "pear", "plum" };
    struct skerry_client_options options = SKERRY_CLIENT_OPTIONS;
    struct skerry_client *client;
    options.address = argc > 1 ? argv[1] : "127.0.0.1:6380";
    if (skerry_client_new(&client, &options) != SKERRY_CLIENT_OK) {
        fprintf(stderr, "%s\n", skerry_client_failure());
        return 1;
    }
    for (unsigned i = 0; i < 3; i++) {
        size_t length = 4 + (keys[i][4] != 0); // of the key
        if (skerry_client_queue_set(client, keys[i], length, "fruit", 5, 0, NULL) != SKERRY_CLIENT_OK ||
            skerry_client_queue_get(client, keys[i], length, (void *)(uintptr_t)keys[i]) != SKERRY_CLIENT_OK)
            fprintf(stderr, "%s\n", skerry_client_error(client));
    }
    int good = 0;
    while (skerry_client_outstanding(client) > 0) {
        const struct skerry_client_reply *reply;
        skerry_client_step(client); // sends, receives, reconnects, ends what is late
        while (skerry_client_next(client, &reply) == SKERRY_CLIENT_OK) {
            if (reply->error != NULL)
                fprintf(stderr, "%s\n", reply->error);
            else if (reply->tag != NULL) // a get
                good += printf("%s is a %.*s\n", (const char *)reply->tag, (int)reply->bytes.length, (const char *)reply->bytes.data) > 0;
        }
        struct pollfd descriptors[] = { { .fd = skerry_client_fd(client), .events = POLLIN } }; // and those of the program
        if (skerry_client_outstanding(client) > 0)
            poll(descriptors, 1, -1);
    }
    skerry_client_free(client);
    return good != 3;
}
