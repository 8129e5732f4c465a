/* The event loop of one thread over its connections. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "load.h"
#include "tls.h"

#define EVENTS 128
#define PHASE_POLL_MS 10    /* delay at most until a worker notices a new phase */
#define THROTTLE_POLL_MS 1  /* delay at most until it notices a smaller backlog */

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static bool control_pending(const struct connection *connection) {
    return connection->control_sent < connection->control.size;
}

static bool message_pending(const struct connection *connection) {
    return connection->publisher && connection->publisher->send_from < connection->publisher->send_to;
}

bool connection_finished(const struct connection *connection) {
    bool published = !connection->publisher || !connection->publisher->channels_open;
    return published && !connection->consumers_open && !control_pending(connection);
}

static void receive_once(struct worker *worker, struct connection *connection) {
    ssize_t count = octets_receive(connection->socket, connection->input + connection->input_size,
                                   INPUT_BYTES - connection->input_size);
    if (count == 0) {
        errno = 0;
        fail("the broker closed the socket");
    }
    if (count < 0) {
        if (errno != EAGAIN && errno != EINTR)
            fail("recv");
        return;
    }
    connection->input_size += (size_t)count;
    connection_parse(worker, connection, now_ns());
}

static void receive(struct worker *worker, struct connection *connection) {
    do
        receive_once(worker, connection);
    while (octets_pending(connection->socket));
}

static void send_control(struct connection *connection) {
    struct buffer *control = &connection->control;
    ssize_t count = octets_send(connection->socket, control->data + connection->control_sent,
                                control->size - connection->control_sent);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        fail("send");
    if (count > 0)
        connection->control_sent += (size_t)count;
    if (!control_pending(connection))
        control->size = connection->control_sent = 0;
}

/* Once a phase: publishers close their channels, consumers cancel. */
static void follow_phase(struct worker *worker, struct connection *connection) {
    struct load *load = worker->load;
    int phase = atomic_load_explicit(&load->phase, memory_order_relaxed);
    struct publisher *publisher = connection->publisher;
    if (phase >= PHASE_DRAIN && publisher && !publisher->closing && publisher_settled(load, publisher)) {
        publisher->closing = true;
        if (load->options.shape == SHAPE_RELAY) {
            publisher->channels_open = 0;
            worker->publishers_open--;
        } else {
            for (int i = 0; i < publisher->channel_count; i++)
                put_channel_close(&connection->control, publisher->channels[i]);
        }
    }
    if (phase == PHASE_CANCEL && !connection->cancelling) {
        connection->cancelling = true;
        if (load->options.shape == SHAPE_RELAY)
            connection->consumers_open = 0;
        else
            for (int channel = 1; channel <= CHANNELS_MAX; channel++)
                if (connection->consumers[channel])
                    consumer_cancel(load, connection, connection->consumers[channel]);
    }
}

static void watch(struct worker *worker, struct connection *connection, int operation, bool output) {
    struct epoll_event event = {.events = output ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = connection};
    connection->wants_output = output;
    if (epoll_ctl(worker->epoll, operation, connection->socket, &event))
        fail("epoll_ctl");
}

/* Methods are sent between two messages, never inside one. */
static void advance(struct worker *worker, struct connection *connection) {
    follow_phase(worker, connection);
    if (control_pending(connection) && !message_pending(connection))
        send_control(connection);
    if (connection->publisher && (message_pending(connection) || !control_pending(connection)))
        publisher_pump(worker, connection);
    bool output = control_pending(connection) || message_pending(connection) ||
                  (!worker->load->options.rate && connection->publisher &&
                   publisher_ready(worker, connection->publisher));
    if (output != connection->wants_output)
        watch(worker, connection, EPOLL_CTL_MOD, output);
}

/* Wake when the next message is due; a timer because the timeout of epoll_wait is too coarse. */
static void arm_timer(struct worker *worker) {
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < worker->connection_count; i++) {
        const struct publisher *publisher = worker->connections[i]->publisher;
        if (publisher && publisher->due_ns < next)
            next = publisher->due_ns;
    }
    struct itimerspec at = {0};
    if (next != UINT64_MAX && atomic_load(&worker->load->phase) == PHASE_RUN)
        at.it_value = (struct timespec){(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
    if (timerfd_settime(worker->timer, TFD_TIMER_ABSTIME, &at, NULL))
        fail("timerfd_settime");
}

static void start(struct worker *worker) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (worker->epoll < 0 || worker->timer < 0)
        fail("epoll_create1, timerfd_create");
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->timer, &event))
        fail("epoll_ctl");
    for (int i = 0; i < worker->connection_count; i++) {
        struct connection *connection = worker->connections[i];
        if (connection->publisher)
            connection->publisher->due_ns = now_ns();
        watch(worker, connection, EPOLL_CTL_ADD, connection->publisher != NULL);
    }
}

static bool finished(const struct worker *worker) {
    for (int i = 0; i < worker->connection_count; i++)
        if (!connection_finished(worker->connections[i]))
            return false;
    return true;
}

/* One iteration of the loop. */
static void turn(struct worker *worker) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(worker->epoll, events, EVENTS, worker->throttled ? THROTTLE_POLL_MS : PHASE_POLL_MS);
    if (count < 0 && errno != EINTR)
        fail("epoll_wait");
    bool timed = count == 0 || worker->throttled;
    worker->throttled = false;
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        if (!connection) {
            timed = true;
            continue;
        }
        if (events[i].events & ~(uint32_t)EPOLLOUT)
            receive(worker, connection);
        advance(worker, connection);
    }
    if (timed || atomic_load_explicit(&worker->load->phase, memory_order_relaxed) != PHASE_RUN)
        for (int i = 0; i < worker->connection_count; i++)
            advance(worker, worker->connections[i]);
    if (worker->throttled)
        worker->throttled_rounds++;
    if (timed && worker->load->options.rate)
        arm_timer(worker);
}

void *worker_run(void *argument) {
    struct worker *worker = argument;
    start(worker);
    if (worker->load->options.rate)
        arm_timer(worker);
    for (;;) {
        bool last = atomic_load(&worker->load->phase) == PHASE_CANCEL;
        if (last && (finished(worker) || now_ns() > worker->load->give_up_ns))
            break;
        turn(worker);
    }
    close(worker->epoll);
    close(worker->timer);
    return NULL;
}
