/* The receiving side of a connection: frames, deliveries, lost and duplicated messages, and acks. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "load.h"

/* Check the number of a whole message in its sequence, and record its latency. */
static void account(struct worker *worker, struct consumer *consumer, const uint8_t *stamp, uint64_t arrived_ns) {
    struct load *load = worker->load;
    uint64_t words[2];
    memcpy(words, stamp, sizeof words);
    uint64_t due = words[0], sequence = words[1] >> SEQUENCE_SHIFT, number = words[1] & ((1ull << SEQUENCE_SHIFT) - 1);
    if (sequence >= (uint64_t)load->sequence_count)
        fail("a body that was not published here");
    if (number >= consumer->next[sequence]) {
        consumer->gaps += number - consumer->next[sequence];
        consumer->next[sequence] = number + 1;
    } else {
        consumer->repeated++;
    }
    if (due >= load->window_begin_ns && due < load->window_end_ns)
        histogram_record(&worker->latency, arrived_ns > due ? arrived_ns - due : 0);
}

static void acknowledge(const struct load *load, struct connection *connection, struct consumer *consumer) {
    uint64_t every = (uint64_t)load->options.ack;
    if (!every || consumer->tag - consumer->acked < every)
        return;
    put_ack(&connection->control, consumer->channel, consumer->tag, every > 1);
    consumer->acked = consumer->tag;
}

/* Whether a drain has received --count messages: further ones are ignored. */
static bool is_enough(const struct worker *worker) {
    const struct options *options = &worker->load->options;
    return options->shape == SHAPE_DRAIN && worker->received >= options->count;
}

static void on_body(struct worker *worker, struct connection *connection, struct consumer *consumer,
                    const uint8_t *payload, uint32_t size, uint64_t arrived_ns) {
    if (size > consumer->body_left)
        fail("a body longer than its header said");
    if (!consumer->body_begun) {
        if (size < STAMP_SIZE)
            fail("a first body frame of %u bytes", size);
        memcpy(consumer->stamp, payload, STAMP_SIZE);
        consumer->body_begun = true;
    }
    consumer->body_left -= size;
    if (consumer->body_left || is_enough(worker))
        return;
    account(worker, consumer, consumer->stamp, arrived_ns);
    atomic_store_explicit(&worker->received, worker->received + 1, memory_order_relaxed);
    acknowledge(worker->load, connection, consumer);
}

static void on_other_method(struct worker *worker, struct connection *connection, uint32_t method,
                            const uint8_t *payload) {
    refuse_close(method, payload);
    errno = 0;
    switch (method) {
    case BASIC_ACK:
        if (!connection->publisher)
            fail("a confirm on a consumer's connection");
        publisher_confirmed(worker, connection->publisher, read_u64(payload + 4), payload[12] & 1);
        break;
    case CHANNEL_CLOSE_OK:
        if (--connection->publisher->channels_open == 0)
            worker->publishers_open--;
        break;
    case BASIC_CANCEL_OK:
        connection->consumers_open--;
        break;
    case BASIC_NACK:
        fail("the broker refused a message (basic.nack)");
    default:
        fail("unexpected method %08x", method);
    }
}

static struct consumer *consumer_of(const struct connection *connection, const uint8_t *frame) {
    uint16_t channel = read_u16(frame + 1);
    struct consumer *consumer = channel <= CHANNELS_MAX ? connection->consumers[channel] : NULL;
    if (!consumer)
        fail("content on channel %u, which has no consumer", channel);
    return consumer;
}

static void on_frame(struct worker *worker, struct connection *connection, const uint8_t *frame, uint32_t size,
                     uint64_t arrived_ns) {
    const uint8_t *payload = frame + FRAME_HEADER;
    struct consumer *consumer;
    uint32_t method;
    switch (frame[0]) {
    case FRAME_METHOD:
        method = read_u32(payload);
        if (method == BASIC_DELIVER && is_enough(worker))
            consumer_of(connection, frame); /* it stays unacknowledged, and returns to the queue */
        else if (method == BASIC_DELIVER)
            consumer_of(connection, frame)->tag = read_u64(payload + 5 + payload[4]);
        else if (method != BASIC_PUBLISH || worker->load->options.shape != SHAPE_RELAY)
            on_other_method(worker, connection, method, payload);
        break;
    case FRAME_CONTENT_HEADER:
        consumer = consumer_of(connection, frame);
        consumer->body_left = read_u64(payload + 4);
        consumer->body_begun = false;
        if (consumer->body_left != (uint64_t)worker->load->options.body_size)
            fail("a body of another size than was published");
        break;
    case FRAME_BODY:
        on_body(worker, connection, consumer_of(connection, frame), payload, size, arrived_ns);
        break;
    case FRAME_HEARTBEAT:
        break;
    default:
        fail("a frame of type %u", frame[0]);
    }
}

void connection_parse(struct worker *worker, struct connection *connection, uint64_t arrived_ns) {
    const uint8_t *input = connection->input;
    size_t at = 0, left = connection->input_size;
    errno = 0;
    while (left >= FRAME_OVERHEAD) {
        uint32_t size = read_u32(input + at + 3);
        if (size > FRAME_MAX)
            fail("a frame of %u bytes", size);
        if (left < size + FRAME_OVERHEAD)
            break;
        if (input[at + FRAME_HEADER + size] != FRAME_END)
            fail("a frame without its end octet");
        on_frame(worker, connection, input + at, size, arrived_ns);
        at += size + FRAME_OVERHEAD;
        left -= size + FRAME_OVERHEAD;
    }
    if (at)
        memmove(connection->input, input + at, left);
    connection->input_size = left;
}

void consumer_tag(const struct consumer *consumer, int number, char tag[NAME_SIZE]) {
    snprintf(tag, NAME_SIZE, "load%d.%d", consumer->channel, number);
}

void consumer_cancel(const struct load *load, struct connection *connection, struct consumer *consumer) {
    if (load->options.ack && consumer->tag > consumer->acked)
        put_ack(&connection->control, consumer->channel, consumer->tag, 1);
    consumer->acked = consumer->tag;
    for (int i = 0; i < consumer->count; i++) {
        char tag[NAME_SIZE];
        consumer_tag(consumer, i, tag);
        put_cancel(&connection->control, consumer->channel, tag);
    }
}
