#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls.h"

/* Property flags (specification 4.2.6.1). */
#define DELIVERY_MODE 0x1000
#define PRIORITY 0x0800
#define EXPIRATION 0x0100

void fail(const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    fputs("amqpload: ", stderr);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
    exit(2);
}

void *must(void *allocated) {
    if (!allocated)
        fail("out of memory");
    return allocated;
}

uint16_t read_u16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return ntohs(value);
}

uint32_t read_u32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

uint64_t read_u64(const uint8_t *at) {
    return (uint64_t)read_u32(at) << 32 | read_u32(at + 4);
}

static uint8_t *extend(struct buffer *out, size_t size) {
    if (out->size + size > out->capacity) {
        out->capacity = (out->size + size) * 2;
        out->data = must(realloc(out->data, out->capacity));
    }
    out->size += size;
    return out->data + out->size - size;
}

void put_bytes(struct buffer *out, const void *bytes, size_t size) {
    if (size)
        memcpy(extend(out, size), bytes, size);
}

void put_u8(struct buffer *out, unsigned value) {
    *extend(out, 1) = (uint8_t)value;
}

void put_u16(struct buffer *out, unsigned value) {
    uint16_t big = htons((uint16_t)value);
    put_bytes(out, &big, sizeof big);
}

void put_u32(struct buffer *out, uint32_t value) {
    uint32_t big = htonl(value);
    put_bytes(out, &big, sizeof big);
}

void put_u64(struct buffer *out, uint64_t value) {
    put_u32(out, (uint32_t)(value >> 32));
    put_u32(out, (uint32_t)value);
}

void put_shortstr(struct buffer *out, const char *text) {
    put_u8(out, (unsigned)strlen(text));
    put_bytes(out, text, strlen(text));
}

size_t frame_begin(struct buffer *out, enum frame_type type, int channel) {
    put_u8(out, type);
    put_u16(out, (unsigned)channel);
    put_u32(out, 0);
    return out->size;
}

size_t method_begin(struct buffer *out, int channel, enum method method) {
    size_t payload = frame_begin(out, FRAME_METHOD, channel);
    put_u32(out, method);
    return payload;
}

void frame_end(struct buffer *out, size_t payload) {
    uint32_t size = htonl((uint32_t)(out->size - payload));
    memcpy(out->data + payload - sizeof size, &size, sizeof size);
    put_u8(out, FRAME_END);
}

void put_ack(struct buffer *out, int channel, uint64_t tag, int multiple) {
    /* One copy of 21 bytes: with an ack a delivery this is the consumer's largest cost after parsing. */
    uint8_t frame[] = {FRAME_METHOD, 0, 0, 0, 0, 0, 13, 0, 60, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0, FRAME_END};
    frame[1] = (uint8_t)(channel >> 8);
    frame[2] = (uint8_t)channel;
    for (int i = 0; i < 8; i++)
        frame[11 + i] = (uint8_t)(tag >> (56 - 8 * i));
    frame[19] = multiple != 0;
    put_bytes(out, frame, sizeof frame);
}

void put_cancel(struct buffer *out, int channel, const char *consumer_tag) {
    size_t payload = method_begin(out, channel, BASIC_CANCEL);
    put_shortstr(out, consumer_tag);
    put_u8(out, 0);
    frame_end(out, payload);
}

static void put_close(struct buffer *out, int channel, enum method method) {
    size_t payload = method_begin(out, channel, method);
    put_u16(out, 200);
    put_shortstr(out, "done");
    put_u32(out, 0);
    frame_end(out, payload);
}

void put_channel_close(struct buffer *out, int channel) {
    put_close(out, channel, CHANNEL_CLOSE);
}

/* Octets that nothing compresses, the same in each run (xorshift64). */
static void put_noise(struct buffer *out, size_t size) {
    static uint64_t state = 0x9E3779B97F4A7C15;
    uint8_t *at = extend(out, size);
    for (size_t i = 0; i < size; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        at[i] = (uint8_t)(state >> 32);
    }
}

size_t put_message(struct buffer *out, int channel, const struct message *message) {
    size_t payload = method_begin(out, channel, BASIC_PUBLISH);
    put_u16(out, 0);
    put_shortstr(out, message->exchange);
    put_shortstr(out, message->key);
    put_u8(out, 0);
    frame_end(out, payload);
    payload = frame_begin(out, FRAME_CONTENT_HEADER, channel);
    put_u32(out, 0x003C0000); /* class basic, weight 0 */
    put_u64(out, message->body_size);
    put_u16(out, (message->persistent ? DELIVERY_MODE : 0) | (message->priority >= 0 ? PRIORITY : 0) |
                     (message->expiration ? EXPIRATION : 0));
    if (message->persistent)
        put_u8(out, 2);
    if (message->priority >= 0)
        put_u8(out, (unsigned)message->priority);
    if (message->expiration)
        put_shortstr(out, message->expiration);
    frame_end(out, payload);
    size_t body = out->size + FRAME_HEADER;
    for (size_t left = message->body_size, size; left; left -= size) {
        size = left < FRAME_MAX - FRAME_OVERHEAD ? left : FRAME_MAX - FRAME_OVERHEAD;
        payload = frame_begin(out, FRAME_BODY, channel);
        put_noise(out, size);
        frame_end(out, payload);
    }
    return body;
}

void refuse_close(uint32_t method, const uint8_t *payload) {
    if (method != CONNECTION_CLOSE && method != CHANNEL_CLOSE)
        return;
    errno = 0;
    fail("the broker closed the %s: %u %.*s", method == CONNECTION_CLOSE ? "connection" : "channel",
         read_u16(payload + 4), payload[6], (const char *)payload + 7);
}

static void send_all(int socket, struct buffer *out) {
    for (size_t sent = 0; sent < out->size;) {
        ssize_t count = octets_send(socket, out->data + sent, out->size - sent);
        if (count < 0 && errno != EINTR)
            fail("send");
        if (count > 0)
            sent += (size_t)count;
    }
    out->size = 0;
}

static void receive_all(int socket, uint8_t *to, size_t size) {
    while (size) {
        ssize_t count = octets_receive(socket, to, size);
        if (count == 0) {
            errno = 0;
            fail("the broker closed the socket");
        }
        if (count < 0 && errno != EINTR)
            fail("recv");
        if (count > 0) {
            to += count;
            size -= (size_t)count;
        }
    }
}

const uint8_t *request(int socket, struct buffer *out, enum method expected) {
    static uint8_t payload[FRAME_MAX + 1];
    uint8_t header[FRAME_HEADER];
    send_all(socket, out);
    do {
        receive_all(socket, header, sizeof header);
        uint32_t size = read_u32(header + 3);
        if (size >= sizeof payload)
            fail("a frame of %u bytes", size);
        receive_all(socket, payload, size + 1);
        if (payload[size] != FRAME_END)
            fail("a frame without its end octet");
    } while (header[0] != FRAME_METHOD);
    uint32_t method = read_u32(payload);
    if (method != expected) {
        refuse_close(method, payload);
        errno = 0;
        fail("expected method %08x, got %08x", (unsigned)expected, method);
    }
    return payload;
}

int tcp_connect(const struct endpoint *endpoint) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)endpoint->port)};
    if (inet_pton(AF_INET, endpoint->host, &address.sin_addr) != 1)
        fail("%s is not an IPv4 address", endpoint->host);
    int connected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (connected < 0 || connect(connected, (struct sockaddr *)&address, sizeof address))
        fail("connect to %s:%d", endpoint->host, endpoint->port);
    setsockopt(connected, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connected;
}

static void put_start_ok(struct buffer *out, const struct endpoint *endpoint) {
    size_t payload = method_begin(out, 0, CONNECTION_START_OK);
    put_u32(out, 0); /* no client properties */
    put_shortstr(out, "PLAIN");
    put_u32(out, (uint32_t)(2 + strlen(endpoint->user) + strlen(endpoint->password)));
    put_u8(out, 0);
    put_bytes(out, endpoint->user, strlen(endpoint->user));
    put_u8(out, 0);
    put_bytes(out, endpoint->password, strlen(endpoint->password));
    put_shortstr(out, "en_US");
    frame_end(out, payload);
}

int amqp_connect(const struct endpoint *endpoint) {
    int socket = tcp_connect(endpoint);
    if (endpoint->tls)
        tls_begin(socket);
    struct buffer out = {0};
    put_bytes(&out, "AMQP\0\0\x09\x01", 8);
    request(socket, &out, CONNECTION_START);
    put_start_ok(&out, endpoint);
    uint16_t channel_max = read_u16(request(socket, &out, CONNECTION_TUNE) + 4);
    size_t payload = method_begin(&out, 0, CONNECTION_TUNE_OK);
    put_u16(&out, channel_max);
    put_u32(&out, FRAME_MAX);
    put_u16(&out, 0);
    frame_end(&out, payload);
    payload = method_begin(&out, 0, CONNECTION_OPEN);
    put_shortstr(&out, endpoint->vhost);
    put_shortstr(&out, "");
    put_u8(&out, 0);
    frame_end(&out, payload);
    request(socket, &out, CONNECTION_OPEN_OK);
    free(out.data);
    return socket;
}

void amqp_disconnect(int socket) {
    struct buffer out = {0};
    put_close(&out, 0, CONNECTION_CLOSE);
    request(socket, &out, CONNECTION_CLOSE_OK);
    free(out.data);
    close(socket);
}

/* Finish the method that starts at `payload`, send it and wait for its reply. */
static const uint8_t *call(int socket, struct buffer *out, size_t payload, enum method expected) {
    frame_end(out, payload);
    const uint8_t *answer = request(socket, out, expected);
    free(out->data);
    return answer;
}

void channel_open(int socket, int channel) {
    struct buffer out = {0};
    size_t payload = method_begin(&out, channel, CHANNEL_OPEN);
    put_shortstr(&out, "");
    call(socket, &out, payload, CHANNEL_OPEN_OK);
}

void exchange_declare(int socket, const char *name, const char *type) {
    struct buffer out = {0};
    size_t payload = method_begin(&out, 1, EXCHANGE_DECLARE);
    put_u16(&out, 0);
    put_shortstr(&out, name);
    put_shortstr(&out, type);
    put_u8(&out, 0);
    put_u32(&out, 0);
    call(socket, &out, payload, EXCHANGE_DECLARE_OK);
}

void exchange_delete(int socket, const char *name) {
    struct buffer out = {0};
    size_t payload = method_begin(&out, 1, EXCHANGE_DELETE);
    put_u16(&out, 0);
    put_shortstr(&out, name);
    put_u8(&out, 0);
    call(socket, &out, payload, EXCHANGE_DELETE_OK);
}

static void put_integer_argument(struct buffer *out, const char *name, int value) {
    if (value < 0)
        return;
    put_shortstr(out, name);
    put_u8(out, 'I');
    put_u32(out, (uint32_t)value);
}

static void put_text_argument(struct buffer *out, const char *name, const char *text) {
    put_shortstr(out, name);
    put_u8(out, 'S');
    put_u32(out, (uint32_t)strlen(text));
    put_bytes(out, text, strlen(text));
}

void queue_declare(int socket, const char *name, int durable, const struct queue_arguments *arguments) {
    struct buffer table = {0};
    put_integer_argument(&table, "x-message-ttl", arguments->message_ttl);
    put_integer_argument(&table, "x-max-length", arguments->max_length);
    put_integer_argument(&table, "x-max-priority", arguments->max_priority);
    if (arguments->type)
        put_text_argument(&table, "x-queue-type", arguments->type);
    if (arguments->dead_letter_key) {
        put_text_argument(&table, "x-dead-letter-exchange", "");
        put_text_argument(&table, "x-dead-letter-routing-key", arguments->dead_letter_key);
    }
    struct buffer out = {0};
    size_t payload = method_begin(&out, 1, QUEUE_DECLARE);
    put_u16(&out, 0);
    put_shortstr(&out, name);
    put_u8(&out, durable ? 2 : 0); /* bits: passive, durable, exclusive, auto-delete, no-wait */
    put_u32(&out, (uint32_t)table.size);
    put_bytes(&out, table.data, table.size);
    free(table.data);
    call(socket, &out, payload, QUEUE_DECLARE_OK);
}

void queue_bind(int socket, const char *queue, const char *exchange, const char *key) {
    struct buffer out = {0};
    size_t payload = method_begin(&out, 1, QUEUE_BIND);
    put_u16(&out, 0);
    put_shortstr(&out, queue);
    put_shortstr(&out, exchange);
    put_shortstr(&out, key);
    put_u8(&out, 0);
    put_u32(&out, 0);
    call(socket, &out, payload, QUEUE_BIND_OK);
}

uint32_t queue_delete(int socket, const char *name) {
    struct buffer out = {0};
    size_t payload = method_begin(&out, 1, QUEUE_DELETE);
    put_u16(&out, 0);
    put_shortstr(&out, name);
    put_u8(&out, 0);
    return read_u32(call(socket, &out, payload, QUEUE_DELETE_OK) + 4);
}

void confirm_select(int socket, int channel) {
    struct buffer out = {0};
    size_t payload = method_begin(&out, channel, CONFIRM_SELECT);
    put_u8(&out, 0);
    call(socket, &out, payload, CONFIRM_SELECT_OK);
}

void consume(int socket, int channel, const char *queue, const char *consumer_tag, int prefetch, int auto_ack) {
    struct buffer out = {0};
    if (!auto_ack) {
        size_t qos = method_begin(&out, channel, BASIC_QOS);
        put_u32(&out, 0);
        put_u16(&out, (unsigned)prefetch);
        put_u8(&out, 0);
        frame_end(&out, qos);
        request(socket, &out, BASIC_QOS_OK);
    }
    size_t payload = method_begin(&out, channel, BASIC_CONSUME);
    put_u16(&out, 0);
    put_shortstr(&out, queue);
    put_shortstr(&out, consumer_tag);
    put_u8(&out, auto_ack ? 2 : 0); /* bits: no-local, no-ack, exclusive, no-wait */
    put_u32(&out, 0);
    call(socket, &out, payload, BASIC_CONSUME_OK);
}
