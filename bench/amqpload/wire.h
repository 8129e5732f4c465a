/* AMQP 0-9-1 as a client writes and reads it: growing buffers, frames, and blocking requests.
 *
 * Every error here ends the program through fail(), because a measurement with an error is invalid.
 * request() takes blocking sockets; the event loop of worker.c uses the encoders and the readers only.
 */
#ifndef AMQPLOAD_WIRE_H
#define AMQPLOAD_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_OVERHEAD 8    /* type 1, channel 2, size 4, end 1 (specification 4.2.3) */
#define FRAME_HEADER 7
#define FRAME_MAX 131072    /* RabbitMQ's proposal, and the value in tune-ok */
#define FRAME_END 0xCE

enum frame_type { FRAME_METHOD = 1, FRAME_CONTENT_HEADER = 2, FRAME_BODY = 3, FRAME_HEARTBEAT = 8 };

/* class-id << 16 | method-id */
enum method {
    CONNECTION_START = 0x000A000A, CONNECTION_START_OK = 0x000A000B,
    CONNECTION_TUNE = 0x000A001E, CONNECTION_TUNE_OK = 0x000A001F,
    CONNECTION_OPEN = 0x000A0028, CONNECTION_OPEN_OK = 0x000A0029,
    CONNECTION_CLOSE = 0x000A0032, CONNECTION_CLOSE_OK = 0x000A0033,
    CHANNEL_OPEN = 0x0014000A, CHANNEL_OPEN_OK = 0x0014000B,
    CHANNEL_CLOSE = 0x00140028, CHANNEL_CLOSE_OK = 0x00140029,
    EXCHANGE_DECLARE = 0x0028000A, EXCHANGE_DECLARE_OK = 0x0028000B,
    EXCHANGE_DELETE = 0x00280014, EXCHANGE_DELETE_OK = 0x00280015,
    QUEUE_DECLARE = 0x0032000A, QUEUE_DECLARE_OK = 0x0032000B,
    QUEUE_BIND = 0x00320014, QUEUE_BIND_OK = 0x00320015,
    QUEUE_DELETE = 0x00320028, QUEUE_DELETE_OK = 0x00320029,
    BASIC_QOS = 0x003C000A, BASIC_QOS_OK = 0x003C000B,
    BASIC_CONSUME = 0x003C0014, BASIC_CONSUME_OK = 0x003C0015,
    BASIC_CANCEL = 0x003C001E, BASIC_CANCEL_OK = 0x003C001F,
    BASIC_PUBLISH = 0x003C0028, BASIC_DELIVER = 0x003C003C,
    BASIC_ACK = 0x003C0050, BASIC_NACK = 0x003C0078,
    CONFIRM_SELECT = 0x0055000A, CONFIRM_SELECT_OK = 0x0055000B,
};

struct buffer {
    uint8_t *data;
    size_t size, capacity;
};

/* Print the message (and errno's text when it is set) to stderr and exit with status 2. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

void *must(void *allocated);

uint16_t read_u16(const uint8_t *at);
uint32_t read_u32(const uint8_t *at);
uint64_t read_u64(const uint8_t *at);

void put_u8(struct buffer *out, unsigned value);
void put_u16(struct buffer *out, unsigned value);
void put_u32(struct buffer *out, uint32_t value);
void put_u64(struct buffer *out, uint64_t value);
void put_bytes(struct buffer *out, const void *bytes, size_t size);
void put_shortstr(struct buffer *out, const char *text);

/* A frame is written between frame_begin, which returns where its payload starts, and frame_end. */
size_t frame_begin(struct buffer *out, enum frame_type type, int channel);
size_t method_begin(struct buffer *out, int channel, enum method method);
void frame_end(struct buffer *out, size_t payload);

void put_ack(struct buffer *out, int channel, uint64_t tag, int multiple);
void put_cancel(struct buffer *out, int channel, const char *consumer_tag);
void put_channel_close(struct buffer *out, int channel);
struct message {
    const char *exchange, *key;
    size_t body_size;
    int persistent;         /* delivery-mode 2 */
    int priority;           /* -1: none */
    const char *expiration; /* NULL: none */
};

/* basic.publish, header and body frames; returns the offset of the body's first byte. */
size_t put_message(struct buffer *out, int channel, const struct message *message);

/* End the program with the reply text if the method closes the connection or the channel. */
void refuse_close(uint32_t method, const uint8_t *payload);

/* Send and empty `out`, and read until a method frame arrives, which must be `expected`.
 * The result is its payload, valid until the next call. */
const uint8_t *request(int socket, struct buffer *out, enum method expected);

struct endpoint {
    const char *host, *user, *password, *vhost;
    int port;
    int tls;
};

int tcp_connect(const struct endpoint *endpoint);
/* Open a connection without heartbeats. */
int amqp_connect(const struct endpoint *endpoint);
void amqp_disconnect(int socket);

void channel_open(int socket, int channel);
void exchange_declare(int socket, const char *name, const char *type);
void exchange_delete(int socket, const char *name);
/* The arguments of a declaration; numbers below 0 and NULL omit an argument. */
struct queue_arguments {
    int message_ttl, max_length, max_priority;
    const char *dead_letter_key; /* through the default exchange */
    const char *type;
};

void queue_declare(int socket, const char *name, int durable, const struct queue_arguments *arguments);
void queue_bind(int socket, const char *queue, const char *exchange, const char *key);
uint32_t queue_delete(int socket, const char *name); /* returns the number of its messages */
void confirm_select(int socket, int channel);
void consume(int socket, int channel, const char *queue, const char *consumer_tag, int prefetch, int auto_ack);

#endif
