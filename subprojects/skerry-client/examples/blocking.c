// SPDX-License-Identifier: Apache-2.0
// Blocking use: set, get, expire, several keys at once.   blocking [ADDRESS]
#include <skerry/client.h>
#include <stdio.h>
#include <string.h>

static int fail(struct skerry_client *client, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, skerry_client_error(client));
    skerry_client_free(client);
    return 1;
}

int main(int argc, char **argv)
{
    struct skerry_client_options options = SKERRY_CLIENT_OPTIONS;
    struct skerry_client *client;
    options.address = argc > 1 ? argv[1] : "127.0.0.1:6380";
    if (skerry_client_new(&client, &options) != SKERRY_CLIENT_OK) {
        fprintf(stderr, "%s\n", skerry_client_failure());
        return 1;
    }
    if (skerry_client_connect(client) != SKERRY_CLIENT_OK)
        return fail(client, "connect");

    if (skerry_client_set(client, "user:42", 7, "Ada", 3, 60000) != SKERRY_CLIENT_OK) // for a minute
        return fail(client, "set");

    struct skerry_client_bytes value;
    switch (skerry_client_get(client, "user:42", 7, &value)) {
    case SKERRY_CLIENT_OK:
        printf("user:42 is %.*s\n", (int)value.length, (const char *)value.data); // until the next call
        break;
    case SKERRY_CLIENT_MISSING:
        printf("there is no user:42\n");
        break;
    default:
        return fail(client, "get");
    }

    int64_t seconds;
    if (skerry_client_ttl(client, "user:42", 7, &seconds) != SKERRY_CLIENT_OK)
        return fail(client, "ttl");
    printf("it expires within %lld s\n", (long long)seconds);

    struct skerry_client_bytes keys[] = { { "user:42", 7 }, { "user:43", 7 } }, values[2];
    if (skerry_client_mget(client, keys, 2, values) != SKERRY_CLIENT_OK)
        return fail(client, "mget");
    for (int i = 0; i < 2; i++)
        printf("%s: %s\n", (const char *)keys[i].data, values[i].data != NULL ? "there" : "not there");

    skerry_client_free(client);
    return 0;
}
