/* Latencies in buckets of 10 microseconds up to 20 seconds; longer ones count in the last bucket. */
#ifndef AMQPLOAD_HISTOGRAM_H
#define AMQPLOAD_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKET_NS 10000u
#define HISTOGRAM_BUCKETS 2000000u

struct histogram {
    uint32_t *buckets;
    uint64_t count, longest_ns;
};

void histogram_init(struct histogram *histogram);
void histogram_record(struct histogram *histogram, uint64_t latency_ns);
void histogram_add(struct histogram *to, const struct histogram *from);
/* The upper edge, in microseconds, of the bucket below which the share (0 to 1) lies; -1 when empty. */
double histogram_percentile_us(const struct histogram *histogram, double share);

#endif
