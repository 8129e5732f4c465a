/* The parts of one measurement: sequences, connections, workers, and the phases they go through.
 *
 * A sequence is one stream of numbered messages: one channel, one exchange, one routing key. AMQP keeps a
 * sequence's messages in order on their way to one consumer (specification 4.7), so a consumer finds a lost
 * or duplicated message by the number alone. The first 16 bytes of a body are the stamp: the time the
 * message was due, and sequence and number.
 *
 * A worker is a thread with its connections and an epoll loop. The counters that the main thread reads while
 * it runs are atomic and have one writer; everything else is read after the thread has been joined.
 */
#ifndef AMQPLOAD_LOAD_H
#define AMQPLOAD_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "histogram.h"
#include "wire.h"

#define STAMP_SIZE 16
#define BACKLOG_BYTES (512 << 20) /* of bodies that are not delivered, at which publishers wait */
#define BODY_MAX (64 << 20)     /* bytes; what does not fit into a frame is sent in several */
#define SEQUENCE_SHIFT 44           /* a stamp's second word: sequence << 44 | number of the message in its sequence */
#define BATCH_BYTES 65536       /* bytes of one send() of a saturating publisher */
#define INPUT_BYTES (256 << 10) /* bytes of one recv(); more than any frame */
#define NAME_SIZE 64
#define PRIORITIES_MAX 255
#define CHANNELS_MAX 64         /* of one connection here */
#define CONSUMERS_MAX 10000     /* of one channel here */
#define CONFIRM_SPAN (1 << 17)  /* tags between the oldest unconfirmed one and the newest */
#define WORKERS 2               /* publishers' and consumers'; few, because load and broker share the machine */

enum shape { SHAPE_QUEUE, SHAPE_FANOUT, SHAPE_TOPIC, SHAPE_CHANNELS, SHAPE_RELAY, SHAPE_PAIRS, SHAPE_FILL, SHAPE_DRAIN,
             SHAPE_LIMIT, SHAPE_DEAD };

struct options {
    struct endpoint endpoint;
    enum shape shape;
    int body_size;      /* bytes, STAMP_SIZE to BODY_MAX */
    int queues;         /* fanout, topic */
    int bindings;       /* topic */
    int connections;    /* channels; pairs: of publishers, and as many of consumers */
    int channels;       /* of each connection */
    int ack;            /* 0: auto-ack; 1: each delivery; N: one ack with multiple every N deliveries */
    int prefetch;
    int confirm_window; /* unconfirmed messages allowed; 0: no confirms */
    int rate;           /* messages a second; 0: as fast as the broker accepts them */
    int durable;        /* durable queues and persistent messages */
    int quorum;         /* the queues are quorum queues */
    int priorities;     /* queue: number of priorities, in turn; 0: none */
    int consumers;      /* queue: number of consumers, all on one channel */
    int max_length;     /* limit: x-max-length of the queue */
    const char *expiration; /* milliseconds, of every message; NULL: none */
    const char *queue;  /* fill, drain: its name; it is not deleted */
    uint64_t count;     /* fill, drain: messages to publish, or to consume */
    uint64_t first;     /* fill, drain: the number of the first of them */
    double warmup_s, measured_s, drain_s;
    uint64_t backlog;   /* undelivered messages at which publishers wait, to bound the memory of any broker */
    pid_t broker_pid;   /* process whose processor time is reported; 0: none */
};

struct sequence {
    uint64_t sent;
    int copies; /* queues each of its messages reaches */
};

struct confirms {
    uint64_t below;     /* every tag up to this one is confirmed */
    uint64_t confirmed;
    uint8_t *above;     /* flags of the tags above, CONFIRM_SPAN of them, by tag modulo */
};

struct publisher {
    uint8_t *batch;         /* encoded messages ("slots") of one size, sent again and again with new stamps */
    size_t stride, stamp_at;
    uint32_t slots, cursor; /* the next slot to send */
    uint32_t *slot_sequence;
    size_t send_from, send_to; /* the bytes of the batch that are being sent */
    uint64_t sent;
    uint64_t due_ns, interval_ns; /* with a rate: when the next message is due */
    struct confirms confirms;
    int channels[CHANNELS_MAX];
    int channel_count;
    bool closing;
    int channels_open;
};

/* The consumers of one channel. */
struct consumer {
    int channel;
    int count;              /* basic.consumes of the channel; they share what is counted here */
    uint64_t *next;         /* of every sequence: the number expected */
    uint64_t gaps, repeated;
    uint64_t tag, acked;    /* the last delivery tag received, and acknowledged */
    uint64_t body_left;
    bool body_begun;
    uint8_t stamp[STAMP_SIZE]; /* of the body that is being received */
};

struct connection {
    int socket;
    uint8_t *input;
    size_t input_size;
    struct buffer control;  /* acks and methods, sent between two messages */
    size_t control_sent;
    struct publisher *publisher;
    struct consumer *consumers[CHANNELS_MAX + 1]; /* by channel number */
    int consumers_open;
    bool cancelling, wants_output;
};

struct worker {
    struct load *load;
    struct connection **connections;
    int connection_count;
    int epoll, timer;
    struct histogram latency;
    uint64_t confirmed;
    bool throttled;
    /* Read by the main thread while the worker runs. */
    _Atomic uint64_t published, copies_due, received, throttled_rounds;
    atomic_int publishers_open;
};

enum phase { PHASE_RUN, PHASE_DRAIN, PHASE_CANCEL };

struct load {
    struct options options;
    struct sequence *sequences;
    int sequence_count;
    struct connection *connections;
    int connection_count;
    int control;            /* the socket that declares and deletes; -1 with a relay */
    char exchange[NAME_SIZE];
    char dying[NAME_SIZE];  /* dead: the queue in which messages expire */
    char (*queues)[NAME_SIZE];
    int queue_count;
    uint64_t window_begin_ns, window_end_ns; /* CLOCK_MONOTONIC; set before the workers start */
    uint64_t give_up_ns;    /* when workers end without the broker's last replies; set before PHASE_CANCEL */
    struct worker workers[WORKERS];
    atomic_int phase;
};

uint64_t now_ns(void);

/* topology.c: declare and connect as the options say, and undo it.
 * topology_remove returns the number of messages in the deleted queues. */
void topology_build(struct load *load);
uint64_t topology_remove(struct load *load);

/* worker.c: a thread's start routine, taking a struct worker. */
void *worker_run(void *argument);
bool connection_finished(const struct connection *connection);

/* publishing.c: send what is due; called when the socket may take more. */
void publisher_pump(struct worker *worker, struct connection *connection);
/* Whether the publisher could send now if its socket were writable. */
bool publisher_ready(struct worker *worker, const struct publisher *publisher);
void publisher_confirmed(struct worker *worker, struct publisher *publisher, uint64_t tag, bool multiple);
bool publisher_settled(const struct load *load, const struct publisher *publisher);

/* consuming.c: parse the connection's input. */
void connection_parse(struct worker *worker, struct connection *connection, uint64_t arrived_ns);
/* The tag of one of a channel's consumers. */
void consumer_tag(const struct consumer *consumer, int number, char tag[NAME_SIZE]);
void consumer_cancel(const struct load *load, struct connection *connection, struct consumer *consumer);

#endif
