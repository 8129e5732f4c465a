/* The queues, exchanges, bindings and connections of each shape; names contain the process id, so that
 * two runs against one broker do not interfere. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

static struct connection *add_connection(struct load *load) {
    struct connection *connection = &load->connections[load->connection_count++];
    if (load->options.shape == SHAPE_RELAY)
        connection->socket = tcp_connect(&load->options.endpoint);
    else
        connection->socket = amqp_connect(&load->options.endpoint);
    connection->input = must(malloc(INPUT_BYTES));
    return connection;
}

static void open_channel(struct load *load, struct connection *connection, int channel) {
    if (load->options.shape != SHAPE_RELAY)
        channel_open(connection->socket, channel);
}

static void add_publishing_channel(struct load *load, struct connection *connection, int channel) {
    open_channel(load, connection, channel);
    if (!connection->publisher)
        connection->publisher = must(calloc(1, sizeof *connection->publisher));
    struct publisher *publisher = connection->publisher;
    publisher->channels[publisher->channel_count++] = channel;
    publisher->channels_open++;
    if (load->options.confirm_window) {
        confirm_select(connection->socket, channel);
        publisher->confirms.above = must(calloc(CONFIRM_SPAN, 1));
    }
}

static void add_consumers(struct load *load, struct connection *connection, int channel, const char *queue, int count) {
    struct consumer *consumer = must(calloc(1, sizeof *consumer));
    open_channel(load, connection, channel);
    consumer->channel = channel;
    consumer->count = count;
    consumer->next = must(calloc((size_t)load->sequence_count, sizeof *consumer->next));
    connection->consumers[channel] = consumer;
    connection->consumers_open += count;
    for (int i = 0; queue && i < count; i++) {
        char tag[NAME_SIZE];
        consumer_tag(consumer, i, tag);
        consume(connection->socket, channel, queue, tag, load->options.prefetch, load->options.ack == 0);
    }
}

static void add_consumer(struct load *load, struct connection *connection, int channel, const char *queue) {
    add_consumers(load, connection, channel, queue, 1);
}

/* The route of one sequence's messages. */
struct route {
    int sequence, channel;
    int priority; /* with --priorities */
    char exchange[NAME_SIZE], key[NAME_SIZE];
};

static struct message message_of(const struct load *load, const struct route *route) {
    const struct options *options = &load->options;
    return (struct message){.exchange = route->exchange, .key = route->key, .body_size = (size_t)options->body_size,
                            .persistent = options->durable, .priority = options->priorities ? route->priority : -1,
                            .expiration = options->expiration};
}

/* Encode the publisher's batch: the routes in turn, until it has more than BATCH_BYTES and every route. So a body
   comes again after more than the 64 KiB in which lz4 looks for what repeats. */
static void fill_batch(struct load *load, struct publisher *publisher, const struct route *routes, int count) {
    struct buffer batch = {0};
    struct message message = message_of(load, &routes[0]);
    publisher->stamp_at = put_message(&batch, routes[0].channel, &message);
    publisher->stride = batch.size;
    uint32_t rounds = (uint32_t)(BATCH_BYTES / publisher->stride / (size_t)count);
    publisher->slots = (rounds + 1) * (uint32_t)count;
    publisher->slot_sequence = must(calloc(publisher->slots, sizeof *publisher->slot_sequence));
    batch.size = 0;
    for (uint32_t slot = 0; slot < publisher->slots; slot++) {
        const struct route *route = &routes[slot % (uint32_t)count];
        message = message_of(load, route);
        put_message(&batch, route->channel, &message);
        publisher->slot_sequence[slot] = (uint32_t)route->sequence;
        if (batch.size != (slot + 1) * publisher->stride)
            fail("the names of one connection's routes differ in length");
    }
    publisher->batch = batch.data;
    if (load->options.rate)
        publisher->interval_ns = 1000000000u / (uint64_t)load->options.rate;
}

static const struct queue_arguments NO_ARGUMENTS = {-1, -1, -1, NULL, NULL};

static void declare_queues_with(struct load *load, int count, const struct queue_arguments *arguments) {
    load->queues = must(calloc((size_t)count, sizeof *load->queues));
    load->queue_count = count;
    for (int i = 0; i < count; i++) {
        struct queue_arguments typed = *arguments;
        typed.type = load->options.quorum ? "quorum" : NULL;
        snprintf(load->queues[i], NAME_SIZE, "load.%07d.%04d", (int)getpid(), i);
        queue_declare(load->control, load->queues[i], load->options.durable, &typed);
    }
}

static void declare_queues(struct load *load, int count) {
    declare_queues_with(load, count, &NO_ARGUMENTS);
}

static void declare_exchange(struct load *load, const char *type) {
    snprintf(load->exchange, sizeof load->exchange, "load.%07d.%s", (int)getpid(), type);
    exchange_declare(load->control, load->exchange, type);
}

static void allocate(struct load *load, int sequences, int copies, int connections) {
    load->sequences = must(calloc((size_t)sequences, sizeof *load->sequences));
    load->sequence_count = sequences;
    for (int i = 0; i < sequences; i++)
        load->sequences[i].copies = copies;
    load->connections = must(calloc((size_t)connections, sizeof *load->connections));
}

/* One connection consuming from each queue, all of its consumers on one channel, and one publishing over all the routes. */
static void connect_single_publisher(struct load *load, const struct route *routes, int count) {
    struct connection *publishing = add_connection(load);
    add_publishing_channel(load, publishing, 1);
    fill_batch(load, publishing->publisher, routes, count);
    for (int i = 0; i < load->queue_count; i++)
        add_consumers(load, add_connection(load), 1, load->queues[i], load->options.consumers);
}

static void build_queue(struct load *load) {
    int priorities = load->options.priorities, sequences = priorities ? priorities : 1;
    struct queue_arguments arguments = NO_ARGUMENTS;
    struct route routes[PRIORITIES_MAX] = {0};
    if (priorities)
        arguments.max_priority = priorities;
    allocate(load, sequences, 1, 2);
    declare_queues_with(load, 1, &arguments);
    /* Within one priority messages keep their order. */
    for (int i = 0; i < sequences; i++) {
        routes[i] = (struct route){.sequence = i, .channel = 1, .priority = i};
        strcpy(routes[i].key, load->queues[0]);
    }
    connect_single_publisher(load, routes, sequences);
}

static void build_limit(struct load *load) {
    struct queue_arguments arguments = NO_ARGUMENTS;
    struct route route = {.sequence = 0, .channel = 1};
    arguments.max_length = load->options.max_length;
    allocate(load, 1, 0, 1);
    declare_queues_with(load, 1, &arguments);
    strcpy(route.key, load->queues[0]);
    struct connection *publishing = add_connection(load);
    add_publishing_channel(load, publishing, 1);
    fill_batch(load, publishing->publisher, &route, 1);
}

/* The second queue's messages expire at once, and the first gets its dead letters. */
static void build_dead(struct load *load) {
    struct queue_arguments arguments = NO_ARGUMENTS;
    struct route route = {.sequence = 0, .channel = 1};
    allocate(load, 1, 1, 2);
    declare_queues(load, 1);
    arguments.message_ttl = 0;
    arguments.dead_letter_key = load->queues[0];
    snprintf(load->dying, NAME_SIZE, "load.%07d.dying", (int)getpid());
    queue_declare(load->control, load->dying, load->options.durable, &arguments);
    strcpy(route.key, load->dying);
    connect_single_publisher(load, &route, 1);
}

static void build_fanout(struct load *load) {
    struct route route = {.sequence = 0, .channel = 1};
    allocate(load, 1, load->options.queues, 1 + load->options.queues);
    declare_queues(load, load->options.queues);
    declare_exchange(load, "fanout");
    for (int i = 0; i < load->queue_count; i++)
        queue_bind(load->control, load->queues[i], load->exchange, "");
    strcpy(route.exchange, load->exchange);
    connect_single_publisher(load, &route, 1);
}

/* Binding number i, of four kinds in turn; the key of sequence i, s<i>.eu.kern.k<i>, matches it and no other. */
static void topic_pattern(int i, char pattern[NAME_SIZE]) {
    switch (i % 4) {
    case 0: snprintf(pattern, NAME_SIZE, "s%04d.*.kern.#", i); break;
    case 1: snprintf(pattern, NAME_SIZE, "s%04d.#", i); break;
    case 2: snprintf(pattern, NAME_SIZE, "s%04d.*.*.k%04d", i, i); break;
    default: snprintf(pattern, NAME_SIZE, "*.eu.*.k%04d", i); break;
    }
}

static void build_topic(struct load *load) {
    int count = load->options.bindings;
    struct route *routes = must(calloc((size_t)count, sizeof *routes));
    allocate(load, count, 1, 1 + load->options.queues);
    declare_queues(load, load->options.queues);
    declare_exchange(load, "topic");
    for (int i = 0; i < count; i++) {
        char pattern[NAME_SIZE];
        topic_pattern(i, pattern);
        queue_bind(load->control, load->queues[i % load->queue_count], load->exchange, pattern);
        routes[i] = (struct route){.sequence = i, .channel = 1};
        strcpy(routes[i].exchange, load->exchange);
        snprintf(routes[i].key, NAME_SIZE, "s%04d.eu.kern.k%04d", i, i);
    }
    connect_single_publisher(load, routes, count);
    free(routes);
}

/* Every connection publishes on its odd channels and consumes on its even ones; each pair of channels has a
 * queue, whose publisher and consumer are on different connections. */
static void build_channels(struct load *load) {
    int connections = load->options.connections, pairs = load->options.channels / 2;
    allocate(load, connections * pairs, 1, connections);
    declare_queues(load, connections * pairs);
    for (int c = 0; c < connections; c++) {
        struct connection *connection = add_connection(load);
        struct route routes[CHANNELS_MAX] = {0};
        for (int p = 0; p < pairs; p++) {
            int sequence = c * pairs + p, consumed = (c + connections / 2) % connections * pairs + p;
            add_publishing_channel(load, connection, 2 * p + 1);
            add_consumer(load, connection, 2 * p + 2, load->queues[consumed]);
            routes[p] = (struct route){.sequence = sequence, .channel = 2 * p + 1};
            strcpy(routes[p].key, load->queues[sequence]);
        }
        fill_batch(load, connection->publisher, routes, pairs);
    }
}

/* Publishers and consumers on connections of their own, one of each for every queue. */
static void build_pairs(struct load *load) {
    int pairs = load->options.connections;
    allocate(load, pairs, 1, 2 * pairs);
    declare_queues(load, pairs);
    for (int i = 0; i < pairs; i++) {
        struct route route = {.sequence = i, .channel = 1};
        strcpy(route.key, load->queues[i]);
        struct connection *publishing = add_connection(load);
        add_publishing_channel(load, publishing, 1);
        fill_batch(load, publishing->publisher, &route, 1);
        add_consumer(load, add_connection(load), 1, load->queues[i]);
    }
}

/* A queue that exists before and after, and a publisher or a consumer, but not both. */
static void name_queue(struct load *load) {
    allocate(load, 1, 0, 1);
    load->queues = must(calloc(1, sizeof *load->queues));
    load->queue_count = 1;
    snprintf(load->queues[0], NAME_SIZE, "%s", load->options.queue);
    queue_declare(load->control, load->queues[0], load->options.durable, &NO_ARGUMENTS);
}

static void build_fill(struct load *load) {
    struct route route = {.sequence = 0, .channel = 1};
    name_queue(load);
    strcpy(route.key, load->queues[0]);
    load->sequences[0].sent = load->options.first;
    struct connection *publishing = add_connection(load);
    add_publishing_channel(load, publishing, 1);
    fill_batch(load, publishing->publisher, &route, 1);
}

static void build_drain(struct load *load) {
    name_queue(load);
    struct connection *consuming = add_connection(load);
    add_consumer(load, consuming, 1, load->queues[0]);
    consuming->consumers[1]->next[0] = load->options.first;
}

/* The frames of build_queue without a broker: the relay pairs the first connection with the second. */
static void build_relay(struct load *load) {
    struct route route = {.sequence = 0, .channel = 1};
    allocate(load, 1, 1, 2);
    snprintf(route.key, NAME_SIZE, "load.%07d.%04d", (int)getpid(), 0);
    struct connection *publishing = add_connection(load);
    add_publishing_channel(load, publishing, 1);
    fill_batch(load, publishing->publisher, &route, 1);
    add_consumer(load, add_connection(load), 1, NULL);
}

static void make_nonblocking(const struct connection *connection, bool nonblocking) {
    int flags = fcntl(connection->socket, F_GETFL);
    if (fcntl(connection->socket, F_SETFL, nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
        fail("fcntl");
}

void topology_build(struct load *load) {
    static void (*const builders[])(struct load *) = {
        [SHAPE_QUEUE] = build_queue, [SHAPE_FANOUT] = build_fanout, [SHAPE_TOPIC] = build_topic,
        [SHAPE_CHANNELS] = build_channels, [SHAPE_RELAY] = build_relay,
        [SHAPE_PAIRS] = build_pairs, [SHAPE_FILL] = build_fill, [SHAPE_DRAIN] = build_drain,
        [SHAPE_LIMIT] = build_limit, [SHAPE_DEAD] = build_dead,
    };
    load->control = -1;
    if (load->options.shape != SHAPE_RELAY) {
        load->control = amqp_connect(&load->options.endpoint);
        channel_open(load->control, 1);
    }
    builders[load->options.shape](load);
    for (int i = 0; i < load->connection_count; i++)
        make_nonblocking(&load->connections[i], true);
}

uint64_t topology_remove(struct load *load) {
    uint64_t left = 0;
    for (int i = 0; i < load->connection_count; i++) {
        make_nonblocking(&load->connections[i], false);
        if (load->control >= 0 && connection_finished(&load->connections[i]))
            amqp_disconnect(load->connections[i].socket);
        else
            close(load->connections[i].socket);
    }
    bool stays = load->options.queue != NULL;
    for (int i = 0; i < load->queue_count && !stays; i++)
        left += queue_delete(load->control, load->queues[i]);
    if (*load->dying)
        left += queue_delete(load->control, load->dying);
    if (*load->exchange)
        exchange_delete(load->control, load->exchange);
    if (load->control >= 0)
        amqp_disconnect(load->control);
    return left;
}
