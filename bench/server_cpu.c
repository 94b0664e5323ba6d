// SPDX-License-Identifier: Apache-2.0
#include "bench/server_cpu.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The whole file as text, cut at the buffer's end; empty when it cannot be read.
static void file_read(char *text, size_t size, const char *path)
{
    FILE *file = fopen(path, "re");
    size_t got = 0;
    if (file != NULL) {
        got = fread(text, 1, size - 1, file);
        fclose(file);
    }
    text[got] = '\0';
}

static uint64_t field_after(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    return at == NULL ? 0 : strtoull(at + strlen(label), NULL, 10);
}

// Fields 14 and 15 of stat, counted after the command's name, which may hold anything.
static void stat_add(const char *text, struct server_cpu *out)
{
    unsigned long long user = 0, system = 0;
    const char *at = strrchr(text, ')');
    uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    if (at == NULL || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
        return;
    out->user_ns += user * tick_ns;
    out->system_ns += system * tick_ns;
}

static void task_add(pid_t pid, const char *task, struct server_cpu *out)
{
    char path[128], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)pid, task);
    file_read(text, sizeof text, path);
    out->run_ns += strtoull(text, NULL, 10);
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)pid, task);
    file_read(text, sizeof text, path);
    stat_add(text, out);
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", (int)pid, task);
    file_read(text, sizeof text, path);
    out->voluntary_switches += field_after(text, "\nvoluntary_ctxt_switches:");
    out->involuntary_switches += field_after(text, "\nnonvoluntary_ctxt_switches:");
    out->threads++;
}

int server_cpu_read(pid_t pid, struct server_cpu *out)
{
    char path[64];
    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return -errno;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;)
        if (task->d_name[0] != '.')
            task_add(pid, task->d_name, out);
    closedir(tasks);
    if (out->run_ns == 0)
        out->run_ns = out->user_ns + out->system_ns;
    return out->threads == 0 ? -ENOENT : 0;
}
