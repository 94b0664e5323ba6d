// SPDX-License-Identifier: Apache-2.0
#include "bench/options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "bench/template.h"

const char *const op_names[OP_COUNT] = { "get", "set", "incr", "mget", "mset", "ping", "echo" };

enum { OPT_FIRST = 256 };

#define OPTION_TABLE(X)                                                                                                                    \
    X(HOST, "host", "NAME", "server's address (127.0.0.1)")                                                                                \
    X(PORT, "port", "N", "server's TCP port (6380)")                                                                                       \
    X(UNIX, "unix", "PATH", "connect to this unix socket instead")                                                                         \
    X(PASSWORD, "password", "TEXT", "AUTH with this password on every connection")                                                         \
    X(CONNECTIONS, "connections", "N", "connections over all threads (50)")                                                                \
    X(PIPELINE, "pipeline", "N", "requests in flight per connection (1)")                                                                  \
    X(THREADS, "threads", "N", "client threads, each with a ring of its own (1)")                                                          \
    X(CPU, "cpu", "LIST", "pin thread i to the i-th of these cores, e.g. 1 or 2,4-7")                                                      \
    X(DURATION, "duration", "S", "seconds to measure (5); 0 with --preload: only load the keys")                                           \
    X(REQUESTS, "requests", "N", "measure this many requests instead of a duration")                                                       \
    X(WARMUP, "warmup", "S", "seconds of load before measuring (1; with --requests 0)")                                                    \
    X(TIMEOUT, "timeout", "S", "give up when no reply comes for so long (10)")                                                             \
    X(KEYS, "keys", "N", "key space (1000000)")                                                                                            \
    X(KEY_SIZE, "key-size", "BYTES", "length of a key (16)")                                                                               \
    X(VALUE_SIZE, "value-size", "LIST", "length of a value (64), or a mix: 64:90,4096:10; echo: of a message")                             \
    X(DISTRIBUTION, "distribution", "KIND", "uniform, or zipf:EXPONENT with 0 < EXPONENT < 1 (uniform)")                                   \
    X(MIX, "mix", "LIST", "operations and weights of get set incr mget mset ping echo (get:80,set:20)")                                    \
    X(BATCH, "batch", "N", "keys of one mget or mset (10)")                                                                                \
    X(PRELOAD, "preload", NULL, "set every key before measuring")                                                                          \
    X(RATE, "rate", "R", "open loop: R requests/s at fixed times, latency from the intended send time")                                    \
    X(PROTOCOL, "protocol", "P", "resp2, resp3 or fcnp (resp2)")                                                                           \
    X(DIRECT, "direct", NULL, "fcnp: ask the server for its shards, send each key to its shard's own port (get and set)")                  \
    X(PREFIX, "prefix", "KIND", "--direct: what a frame says of its key, shard, or full: hash, shard and tag (full)")                      \
    X(VERIFY, "verify", NULL, "check every value read against its key; exit 1 when one is wrong")                                          \
    X(SEED, "seed", "N", "of the keys' random order (1)")                                                                                  \
    X(SERVER_PID, "server-pid", "PID", "report CPU time and context switches of this process")                                             \
    X(ANNOUNCE, "announce", NULL, "say 'measuring' and 'measured' on the standard error when the window begins and ends")                  \
    X(JSON, "json", NULL, "print one JSON object")                                                                                         \
    X(HELP, "help", NULL, "print this")                                                                                                    \
    X(VERSION, "version", NULL, "print the version")

enum option_id {
    OPT_BEFORE = OPT_FIRST - 1,
#define X(id, name, argument, help) OPT_##id,
    OPTION_TABLE(X)
#undef X
};

static const struct option long_options[] = {
#define X(id, name, argument, help) { name, (argument) != NULL ? required_argument : no_argument, NULL, OPT_##id },
    OPTION_TABLE(X)
#undef X
        { NULL, 0, NULL, 0 },
};

static void print_help(void)
{
    puts("usage: skerry-bench [options]\n\nLoads a RESP or FCNP server (or skerry-echo) and measures it.\n");
#define X(id, name, argument, help) printf("  --%-13s %-6s %s\n", name, (argument) != NULL ? (const char *)(argument) : "", help);
    OPTION_TABLE(X)
#undef X
    puts("\nExit status: 0 measured, 1 the server failed or a value was wrong, 2 bad options.");
}

struct parse {
    char *error;
    size_t error_size;
};

static int printf_like(2, 3) fail(struct parse *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(p->error, p->error_size, format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static int parse_count(struct parse *p, const char *name, const char *text, uint64_t low, uint64_t high, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end != '\0' || text[0] < '0' || text[0] > '9')
        return fail(p, "--%s: '%s' is not a number", name, text);
    if (errno == ERANGE || value < low || value > high)
        return fail(p, "--%s: %s is outside %llu..%llu", name, text, (unsigned long long)low, (unsigned long long)high);
    *out = value;
    return 0;
}

static int parse_small(struct parse *p, const char *name, const char *text, uint32_t low, uint32_t high, uint32_t *out)
{
    uint64_t value = 0;
    int rc = parse_count(p, name, text, low, high, &value);
    *out = (uint32_t)value;
    return rc;
}

static int parse_real(struct parse *p, const char *name, const char *text, double low, double high, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(value))
        return fail(p, "--%s: '%s' is not a number", name, text);
    if (value < low || value > high)
        return fail(p, "--%s: %s is outside %g..%g", name, text, low, high);
    *out = value;
    return 0;
}

// Calls `item` with the name and the weight (1 when there is none) of each part of NAME[:WEIGHT],...
static int parse_weights(struct parse *p, const char *option, const char *text, struct options *o,
                         int (*item)(struct parse *p, struct options *o, const char *name, uint32_t weight))
{
    char copy[512];
    if (strlen(text) >= sizeof copy)
        return fail(p, "--%s: too long", option);
    memcpy(copy, text, strlen(text) + 1);
    char *rest = copy;
    for (char *part; (part = strsep(&rest, ",")) != NULL;) {
        uint32_t weight = 1;
        char *colon = strchr(part, ':');
        if (colon != NULL) {
            *colon = '\0';
            int rc = parse_small(p, option, colon + 1, 1, 1000000, &weight);
            if (rc != 0)
                return rc;
        }
        int rc = item(p, o, part, weight);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int mix_item(struct parse *p, struct options *o, const char *name, uint32_t weight)
{
    for (int i = 0; i < OP_COUNT; i++) {
        if (strcmp(name, op_names[i]) == 0) {
            o->mix[i] = weight;
            return 0;
        }
    }
    return fail(p, "--mix: unknown operation '%s' (get set incr mget mset ping echo)", name);
}

static int size_item(struct parse *p, struct options *o, const char *name, uint32_t weight)
{
    if (o->size_count == OPTIONS_SIZES_MAX)
        return fail(p, "--value-size: more than %d sizes", OPTIONS_SIZES_MAX);
    struct value_size *size = &o->sizes[o->size_count++];
    size->weight = weight;
    return parse_count(p, "value-size", name, 0, UINT64_C(512) << 20, &size->bytes);
}

static int parse_cpus(struct parse *p, struct options *o, const char *text)
{
    char *end = NULL;
    for (const char *at = text;; at = end + 1) {
        unsigned long first = strtoul(at, &end, 10), last = first;
        if (end == at || *at < '0' || *at > '9')
            return fail(p, "--cpu: '%s' is not a list of cores such as 1 or 2,4-7", text);
        if (*end == '-') {
            at = end + 1;
            last = strtoul(at, &end, 10);
            if (end == at || last < first)
                return fail(p, "--cpu: '%s' is not a list of cores such as 1 or 2,4-7", text);
        }
        for (unsigned long cpu = first; cpu <= last; cpu++) {
            if (o->cpu_count == OPTIONS_CPUS_MAX || cpu >= 1024)
                return fail(p, "--cpu: at most %d cores, each below 1024", OPTIONS_CPUS_MAX);
            o->cpus[o->cpu_count++] = (uint32_t)cpu;
        }
        if (*end == '\0')
            return 0;
        if (*end != ',')
            return fail(p, "--cpu: '%s' is not a list of cores such as 1 or 2,4-7", text);
    }
}

static int parse_distribution(struct parse *p, struct options *o, const char *text)
{
    if (strcmp(text, "uniform") == 0) {
        o->zipf = 0;
        return 0;
    }
    if (strncmp(text, "zipf:", 5) != 0)
        return fail(p, "--distribution: '%s' is neither uniform nor zipf:EXPONENT", text);
    return parse_real(p, "distribution", text + 5, 0.01, 0.999, &o->zipf);
}

const char *options_protocol(const struct options *o)
{
    return o->protocol == PROTOCOL_FCNP ? "fcnp" : o->protocol == PROTOCOL_RESP3 ? "resp3" : "resp2";
}

static int parse_protocol(struct parse *p, struct options *o, const char *text)
{
    static const enum bench_protocol PROTOCOLS[] = { PROTOCOL_RESP2, PROTOCOL_RESP3, PROTOCOL_FCNP };
    for (size_t i = 0; i < sizeof PROTOCOLS / sizeof PROTOCOLS[0]; i++) {
        o->protocol = PROTOCOLS[i];
        if (strcmp(text, options_protocol(o)) == 0)
            return 0;
    }
    return fail(p, "--protocol: '%s' is none of resp2, resp3, fcnp", text);
}

static int parse_prefix(struct parse *p, struct options *o, const char *text)
{
    o->shard_prefix = strcmp(text, "shard") == 0;
    return o->shard_prefix || strcmp(text, "full") == 0 ? 0 : fail(p, "--prefix: '%s' is none of full, shard", text);
}

static int parse_pid(struct parse *p, struct options *o, const char *text)
{
    uint64_t pid = 0;
    int rc = parse_count(p, "server-pid", text, 1, 1 << 30, &pid);
    o->server_pid = (pid_t)pid;
    return rc;
}

static int parse_mix(struct parse *p, struct options *o, const char *text)
{
    memset(o->mix, 0, sizeof o->mix);
    return parse_weights(p, "mix", text, o, mix_item);
}

static int parse_sizes(struct parse *p, struct options *o, const char *text)
{
    o->size_count = 0;
    return parse_weights(p, "value-size", text, o, size_item);
}

static int parse_port(struct parse *p, struct options *o, const char *text)
{
    uint64_t port = 0;
    o->port = text;
    return parse_count(p, "port", text, 1, 65535, &port);
}

static int set_flag(bool *flag)
{
    *flag = true;
    return 0;
}

static int set_text(const char **text, const char *value)
{
    *text = value;
    return 0;
}

static int option_set(struct parse *p, struct options *o, enum option_id id, const char *text)
{
    switch (id) {
    case OPT_HOST:
        return set_text(&o->host, text);
    case OPT_PORT:
        return parse_port(p, o, text);
    case OPT_UNIX:
        return set_text(&o->unix_path, text);
    case OPT_PASSWORD:
        return set_text(&o->password, text);
    case OPT_CONNECTIONS:
        return parse_small(p, "connections", text, 1, OPTIONS_CONNECTIONS_MAX, &o->connections);
    case OPT_PIPELINE:
        return parse_small(p, "pipeline", text, 1, OPTIONS_PIPELINE_MAX, &o->pipeline);
    case OPT_THREADS:
        return parse_small(p, "threads", text, 1, OPTIONS_THREADS_MAX, &o->threads);
    case OPT_CPU:
        return parse_cpus(p, o, text);
    case OPT_DURATION:
        return parse_real(p, "duration", text, 0, 1e6, &o->duration_s);
    case OPT_REQUESTS:
        return parse_count(p, "requests", text, 1, UINT64_C(1) << 50, &o->requests);
    case OPT_WARMUP:
        return parse_real(p, "warmup", text, 0, 1e6, &o->warmup_s);
    case OPT_TIMEOUT:
        return parse_real(p, "timeout", text, 0.1, 1e6, &o->timeout_s);
    case OPT_KEYS:
        return parse_count(p, "keys", text, 1, UINT64_C(1) << 32, &o->keys);
    case OPT_KEY_SIZE:
        return parse_small(p, "key-size", text, 1, 65536, &o->key_size);
    case OPT_VALUE_SIZE:
        return parse_sizes(p, o, text);
    case OPT_DISTRIBUTION:
        return parse_distribution(p, o, text);
    case OPT_MIX:
        return parse_mix(p, o, text);
    case OPT_BATCH:
        return parse_small(p, "batch", text, 1, 10000, &o->batch);
    case OPT_PRELOAD:
        return set_flag(&o->preload);
    case OPT_RATE:
        return parse_real(p, "rate", text, 0.1, 1e9, &o->rate);
    case OPT_PROTOCOL:
        return parse_protocol(p, o, text);
    case OPT_DIRECT:
        return set_flag(&o->direct);
    case OPT_PREFIX:
        return parse_prefix(p, o, text);
    case OPT_VERIFY:
        return set_flag(&o->verify);
    case OPT_SEED:
        return parse_count(p, "seed", text, 0, UINT64_MAX, &o->seed);
    case OPT_SERVER_PID:
        return parse_pid(p, o, text);
    case OPT_ANNOUNCE:
        return set_flag(&o->announce);
    case OPT_JSON:
        return set_flag(&o->json);
    case OPT_HELP:
        print_help();
        return 1;
    case OPT_VERSION:
        puts("skerry-bench " SKERRY_VERSION);
        return 1;
    case OPT_BEFORE:
        break;
    }
    return fail(p, "unknown option");
}

static uint32_t decimal_digits(uint64_t value)
{
    uint32_t digits = 1;
    for (; value >= 10; value /= 10)
        digits++;
    return digits;
}

static int options_check_fcnp(struct parse *p, const struct options *o)
{
    for (int i = 0; i < OP_COUNT; i++) {
        if (o->mix[i] > 0 && !template_possible(o, (enum op_kind)i))
            return fail(p, "--mix: %s has %s", op_names[i], o->direct ? "no place at a direct port" : "no FCNP opcode");
    }
    for (uint32_t i = 0; i < o->size_count; i++) {
        if (o->sizes[i].bytes * (o->mix[OP_MSET] > 0 ? o->batch : 1) > UINT32_MAX / 2)
            return fail(p, "--value-size: too long for one FCNP frame");
    }
    if (o->direct && o->preload)
        return fail(p, "--direct: goes without --preload; load the keys by a run without --direct");
    if (o->direct && o->unix_path != NULL)
        return fail(p, "--direct: direct ports are TCP ports, not a --unix socket");
    return 0;
}

// What no single option can tell.
static int options_check(struct parse *p, struct options *o)
{
    uint32_t others = 0;
    for (int i = 0; i < OP_COUNT; i++)
        others += i != OP_ECHO && o->mix[i] > 0;
    if (o->mix[OP_ECHO] > 0 && others > 0)
        return fail(p, "--mix: echo speaks no RESP and goes with no other operation");
    if (o->mix[OP_ECHO] > 0 && (o->preload || o->protocol != PROTOCOL_RESP2 || o->password != NULL))
        return fail(p, "--mix echo: goes with neither --preload nor --protocol nor --password");
    if (o->mix[OP_ECHO] > 0 && (o->size_count != 1 || o->sizes[0].bytes == 0))
        return fail(p, "--mix echo: one --value-size above 0 is the length of a message");
    if (o->protocol == PROTOCOL_FCNP && options_check_fcnp(p, o) != 0)
        return -EINVAL;
    if (o->direct && o->protocol != PROTOCOL_FCNP)
        return fail(p, "--direct: goes with --protocol fcnp only");
    if (o->shard_prefix && !o->direct)
        return fail(p, "--prefix: goes with --direct only");
    if (o->threads > o->connections)
        return fail(p, "--threads: %u threads for %u connections", o->threads, o->connections);
    if (o->key_size < decimal_digits(o->keys - 1) + 1)
        return fail(p, "--key-size: %llu keys need at least %u bytes", (unsigned long long)o->keys, decimal_digits(o->keys - 1) + 1);
    if (o->duration_s == 0 && o->requests == 0 && !o->preload)
        return fail(p, "--duration: 0 goes only with --preload");
    return 0;
}

static void options_default(struct options *o)
{
    *o = (struct options){
        .host = "127.0.0.1",
        .port = "6380",
        .connections = 50,
        .pipeline = 1,
        .threads = 1,
        .duration_s = 5,
        .warmup_s = -1,
        .timeout_s = 10,
        .keys = 1000000,
        .key_size = 16,
        .sizes = { { .bytes = 64, .weight = 1 } },
        .size_count = 1,
        .batch = 10,
        .protocol = 2,
        .seed = 1,
    };
    o->mix[OP_GET] = 80;
    o->mix[OP_SET] = 20;
}

int options_parse(struct options *o, int argc, char **argv, char *error, size_t error_size)
{
    struct parse p = { .error = error, .error_size = error_size };
    options_default(o);
    optind = 0;
    opterr = 0;
    for (int id; (id = getopt_long(argc, argv, ":", long_options, NULL)) != -1;) {
        if (id == ':')
            return fail(&p, "%s needs a value", argv[optind - 1]);
        if (id < OPT_FIRST)
            return fail(&p, "unknown option %s", argv[optind - 1]);
        int rc = option_set(&p, o, (enum option_id)id, optarg);
        if (rc != 0)
            return rc;
    }
    if (optind < argc)
        return fail(&p, "unexpected argument '%s'", argv[optind]);
    if (o->duration_s == 0 && o->requests == 0)
        o->warmup_s = 0; // nothing is measured
    if (o->warmup_s < 0)
        o->warmup_s = o->requests > 0 ? 0 : 1;
    return options_check(&p, o);
}
