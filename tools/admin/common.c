// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "tools/admin/admin.h"
#include "tools/admin/copy.h"

int admin_trouble(const struct admin *a, const char *format, ...)
{
    va_list args;
    fputs("skerry-admin: ", a->err);
    va_start(args, format);
    vfprintf(a->err, format, args);
    va_end(args);
    fputc('\n', a->err);
    return ADMIN_TROUBLE;
}

// 0: *there says whether the copy is in `block`.
static int read_copy(struct disk *d, const char *name, uint8_t *block, bool *there)
{
    uint64_t size;
    int fd = d->ops->open(d, name, DISK_READ | DISK_BUFFERED, &size);
    *there = fd >= 0;
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    memset(block, 0, BLOCK_SIZE);
    int rc = size < BLOCK_SIZE ? 0 : d->ops->read(d, fd, block, BLOCK_SIZE, 0);
    d->ops->close(d, fd);
    return rc;
}

int admin_manifest(struct disk *d, struct manifest *m, const char **why)
{
    uint8_t blocks[2][BLOCK_SIZE];
    bool there[2];
    *why = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        int rc = read_copy(d, manifest_name(i), blocks[i], &there[i]);
        if (rc != 0)
            return rc;
    }
    return manifest_pick(m, there[0] ? blocks[0] : NULL, there[1] ? blocks[1] : NULL, why);
}

static void look(void *context, const char *name)
{
    if (strcmp(name, "LOCK") != 0)
        *(bool *)context = true;
}

int admin_is_empty(struct disk *d)
{
    bool something = false;
    int rc = d->ops->list(d, look, &something);
    return rc == 0 && something ? -ENOTEMPTY : rc;
}

void admin_undo(const struct admin *a, struct disk *to)
{
    int rc = copy_wipe(to);
    if (rc != 0)
        admin_trouble(a, "%s: what was written could not be removed: %s", to->path, strerror(-rc));
}
