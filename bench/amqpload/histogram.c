#include "histogram.h"

#include <math.h>
#include <stdlib.h>

#include "wire.h"

void histogram_init(struct histogram *histogram) {
    histogram->buckets = must(calloc(HISTOGRAM_BUCKETS, sizeof *histogram->buckets));
    histogram->count = 0;
    histogram->longest_ns = 0;
}

void histogram_record(struct histogram *histogram, uint64_t latency_ns) {
    uint64_t bucket = latency_ns / HISTOGRAM_BUCKET_NS;
    histogram->buckets[bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1]++;
    histogram->count++;
    if (latency_ns > histogram->longest_ns)
        histogram->longest_ns = latency_ns;
}

void histogram_add(struct histogram *to, const struct histogram *from) {
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
    to->count += from->count;
    if (from->longest_ns > to->longest_ns)
        to->longest_ns = from->longest_ns;
}

double histogram_percentile_us(const struct histogram *histogram, double share) {
    if (!histogram->count)
        return -1;
    uint64_t wanted = (uint64_t)ceil((double)histogram->count * share), seen = 0;
    uint32_t bucket = 0;
    while ((seen += histogram->buckets[bucket]) < wanted)
        bucket++;
    return (bucket + 1) * (HISTOGRAM_BUCKET_NS / 1000.0);
}
