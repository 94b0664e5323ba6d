// SPDX-License-Identifier: Apache-2.0
// For fake_server.py: reads keys in hex, one a line, and writes "full-hash session-hash".
#include <inttypes.h>
#include <skerry/client.h>
#include <stdio.h>
#include <string.h>

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

int main(void)
{
    static char line[1 << 20];
    static unsigned char key[sizeof line / 2];
    while (fgets(line, sizeof line, stdin) != NULL) {
        size_t length = strcspn(line, "\n") / 2;
        for (size_t i = 0; i < length; i++)
            key[i] = (unsigned char)(digit(line[2 * i]) << 4 | digit(line[2 * i + 1]));
        printf("%" PRIx64 " %" PRIx64 "\n", skerry_client_hash(key, length), skerry_client_session_hash(key, length));
        fflush(stdout);
    }
    return 0;
}
