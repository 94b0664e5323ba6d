// SPDX-License-Identifier: Apache-2.0
#include "bench/report.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    double percent;
} percentiles[] = { { "p50", 50 }, { "p90", 90 }, { "p99", 99 }, { "p99.9", 99.9 }, { "p99.99", 99.99 }, { "max", 100 } };

enum { PERCENTILES = sizeof percentiles / sizeof percentiles[0] };

static double per_request_us(const struct report *r, uint64_t ns)
{
    return r->total.requests == 0 ? 0 : (double)ns / 1e3 / (double)r->total.requests;
}

static double rate(const struct report *r)
{
    return r->seconds > 0 ? (double)r->total.requests / r->seconds : 0;
}

static double cores(const struct report *r, uint64_t ns)
{
    return r->seconds > 0 ? (double)ns / 1e9 / r->seconds : 0;
}

static void mix_text(const struct options *o, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (int i = 0; i < OP_COUNT; i++)
        if (o->mix[i] > 0 && len < size)
            len += (size_t)snprintf(text + len, size - len, "%s%s:%u", len > 0 ? "," : "", op_names[i], o->mix[i]);
}

static void sizes_text(const struct options *o, char *text, size_t size)
{
    size_t len = 0;
    for (uint32_t i = 0; i < o->size_count && len < size; i++)
        len += (size_t)snprintf(text + len, size - len, o->size_count > 1 ? "%s%llu:%u" : "%s%llu", len > 0 ? "," : "",
                                (unsigned long long)o->sizes[i].bytes, o->sizes[i].weight);
}

static void distribution_text(const struct options *o, char *text, size_t size)
{
    if (o->zipf > 0)
        snprintf(text, size, "zipf:%g", o->zipf);
    else
        snprintf(text, size, "uniform");
}

static void json_string(const char *name, const char *text)
{
    printf("\"%s\":\"", name);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            putchar('\\');
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
    putchar('"');
}

static void json_settings(const struct options *o)
{
    char mix[256], sizes[256], distribution[32];
    mix_text(o, mix, sizeof mix);
    sizes_text(o, sizes, sizeof sizes);
    distribution_text(o, distribution, sizeof distribution);
    printf("\"connections\":%u,\"pipeline\":%u,\"threads\":%u,\"keys\":%llu,\"key_size\":%u,\"protocol\":\"%s%s\",\"offered_rate\":%g,",
           o->connections, o->pipeline, o->threads, (unsigned long long)o->keys, o->key_size, options_protocol(o),
           o->direct ? "-direct" : "", o->rate);
    json_string("mix", mix);
    putchar(',');
    json_string("value_size", sizes);
    putchar(',');
    json_string("distribution", distribution);
}

static void json_server(const struct report *r)
{
    const struct server_cpu *s = &r->server;
    printf(",\"server\":{\"cpu_us_per_request\":%.4f,\"user_us_per_request\":%.4f,\"system_us_per_request\":%.4f,\"cores\":%.3f,"
           "\"voluntary_switches\":%llu,\"involuntary_switches\":%llu,\"threads\":%u}",
           per_request_us(r, s->run_ns), per_request_us(r, s->user_ns), per_request_us(r, s->system_ns), cores(r, s->run_ns),
           (unsigned long long)s->voluntary_switches, (unsigned long long)s->involuntary_switches, s->threads);
}

static void print_json(const struct report *r)
{
    const struct measure *m = &r->total;
    printf("{\"version\":\"" SKERRY_VERSION "\",");
    json_settings(r->options);
    printf(",\"seconds\":%.6f,\"requests\":%llu,\"requests_per_second\":%.1f,\"errors\":%llu,\"misses\":%llu,\"wrong\":%llu,", r->seconds,
           (unsigned long long)m->requests, rate(r), (unsigned long long)m->errors, (unsigned long long)m->misses,
           (unsigned long long)m->wrong);
    json_string("error_text", m->error_text);
    printf(",\"bytes_in\":%llu,\"bytes_out\":%llu,\"latency_us\":{\"mean\":%.3f", (unsigned long long)m->bytes_in,
           (unsigned long long)m->bytes_out, histogram_mean(&m->latency) / 1e3);
    for (int i = 0; i < PERCENTILES; i++)
        printf(",\"%s\":%.3f", percentiles[i].name, (double)histogram_percentile(&m->latency, percentiles[i].percent) / 1e3);
    printf("},\"client\":{\"cpu_us_per_request\":%.4f,\"cores\":%.3f}", per_request_us(r, m->cpu_ns), cores(r, m->cpu_ns));
    if (r->has_server)
        json_server(r);
    puts("}");
}

static void print_server(const struct report *r)
{
    const struct server_cpu *s = &r->server;
    printf("server CPU   %.3f us/request (user %.3f, system %.3f), %.2f cores, %u threads, switches %llu voluntary %llu involuntary\n",
           per_request_us(r, s->run_ns), per_request_us(r, s->user_ns), per_request_us(r, s->system_ns), cores(r, s->run_ns), s->threads,
           (unsigned long long)s->voluntary_switches, (unsigned long long)s->involuntary_switches);
}

static void print_rate(const struct report *r)
{
    const struct measure *m = &r->total;
    printf("requests     %llu in %.3f s, %.0f/s", (unsigned long long)m->requests, r->seconds, rate(r));
    if (r->options->rate > 0)
        printf(" (offered %.0f/s: %.1f %%%s)", r->options->rate, 100 * rate(r) / r->options->rate,
               rate(r) < 0.99 * r->options->rate ? ", the server did not keep up" : "");
    printf("\nbytes        %.1f MB/s out, %.1f MB/s in\n", (double)m->bytes_out / 1e6 / r->seconds, (double)m->bytes_in / 1e6 / r->seconds);
}

static void print_text(const struct report *r)
{
    const struct options *o = r->options;
    const struct measure *m = &r->total;
    char mix[256], sizes[256], distribution[32];
    mix_text(o, mix, sizeof mix);
    sizes_text(o, sizes, sizeof sizes);
    distribution_text(o, distribution, sizeof distribution);
    printf("load         %s, %u connections, pipeline %u, %u threads, %s, %llu keys %s, values %s, %s%s\n", mix, o->connections,
           o->pipeline, o->threads, o->rate > 0 ? "open loop" : "closed loop", (unsigned long long)o->keys, distribution, sizes,
           options_protocol(o), o->direct ? " on direct ports" : "");
    print_rate(r);
    printf("latency us   mean %.1f", histogram_mean(&m->latency) / 1e3);
    for (int i = 0; i < PERCENTILES; i++)
        printf("  %s %.1f", percentiles[i].name, (double)histogram_percentile(&m->latency, percentiles[i].percent) / 1e3);
    printf("\nclient CPU   %.3f us/request, %.2f of %u cores%s\n", per_request_us(r, m->cpu_ns), cores(r, m->cpu_ns), o->threads,
           cores(r, m->cpu_ns) > 0.97 * o->threads && o->rate == 0 ? " (saturated: the client may be the limit)" : "");
    if (r->has_server)
        print_server(r);
    printf("errors %llu, missing keys %llu%s", (unsigned long long)m->errors, (unsigned long long)m->misses, o->verify ? "" : "\n");
    if (o->verify)
        printf(", wrong values %llu\n", (unsigned long long)m->wrong);
    if (m->error_text[0] != '\0')
        printf("first error  %s\n", m->error_text);
}

void report_print(const struct report *r)
{
    if (r->options->json)
        print_json(r);
    else
        print_text(r);
}
