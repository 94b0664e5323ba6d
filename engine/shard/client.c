// SPDX-License-Identifier: Apache-2.0
#include "engine/shard/client.h"

#include <stdlib.h>

static void forget_texts(struct client *c)
{
    free(c->name);
    free(c->lib_name);
    free(c->lib_version);
    c->name = c->lib_name = c->lib_version = NULL;
}

void client_deinit(struct client *c)
{
    forget_texts(c);
}

void client_reset(struct client *c, bool needs_auth)
{
    free(c->name);
    c->name = NULL;
    c->flags &= CLIENT_UNIX | CLIENT_CLOSE_AFTER_REPLY | CLIENT_CLOSE_NOW;
    if (!needs_auth)
        c->flags |= CLIENT_AUTHENTICATED;
    c->db = 0;
    c->level = 0;
    c->protocol = 2;
}

bool client_text_ok(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '!' || text.data[i] > '~')
            return false;
    return true;
}

bool client_set_text(char **to, struct slice text)
{
    char *copy = text.len == 0 ? NULL : strndup((const char *)text.data, text.len);
    if (copy == NULL && text.len > 0)
        return false;
    free(*to);
    *to = copy;
    return true;
}
