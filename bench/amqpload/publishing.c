/* The publishing side of a connection: when messages are due, their stamps, and their confirms. */
#include <errno.h>
#include <string.h>

#include "load.h"
#include "tls.h"

#define WINDOW_PART 16 /* a window is refilled in parts of at least this fraction, not message by message */

static uint64_t backlog(const struct load *load) {
    uint64_t due = 0, received = 0;
    for (int i = 0; i < WORKERS; i++) {
        received += atomic_load_explicit(&load->workers[i].received, memory_order_relaxed);
        due += atomic_load_explicit(&load->workers[i].copies_due, memory_order_relaxed);
    }
    return due > received ? due - received : 0;
}

/* The number of messages, in consecutive slots of the batch, that may be sent now. */
static uint32_t messages_due(const struct load *load, const struct publisher *publisher) {
    uint32_t slots = publisher->slots - publisher->cursor;
    if (load->options.shape == SHAPE_FILL && load->options.count - publisher->sent < slots)
        slots = (uint32_t)(load->options.count - publisher->sent);
    if (load->options.rate) {
        uint64_t now = now_ns();
        if (now < publisher->due_ns)
            return 0;
        uint64_t due = 1 + (now - publisher->due_ns) / publisher->interval_ns;
        return due < slots ? (uint32_t)due : slots;
    }
    if (load->options.confirm_window) {
        uint32_t window = (uint32_t)load->options.confirm_window;
        uint32_t room = window - (uint32_t)(publisher->sent - publisher->confirms.confirmed);
        if (room <= window / WINDOW_PART && room < window)
            return 0;
        return room < slots ? room : slots;
    }
    return slots;
}

bool publisher_ready(struct worker *worker, const struct publisher *publisher) {
    if (publisher->send_from < publisher->send_to)
        return true;
    if (atomic_load_explicit(&worker->load->phase, memory_order_relaxed) != PHASE_RUN)
        return false;
    if (!messages_due(worker->load, publisher))
        return false;
    if (backlog(worker->load) < worker->load->options.backlog)
        return true;
    worker->throttled = true;
    return false;
}

/* Stamp the next `count` slots with number and time, and start to send them. */
static void stamp(struct worker *worker, struct publisher *publisher, uint32_t count) {
    struct load *load = worker->load;
    uint64_t due = publisher->interval_ns ? publisher->due_ns : now_ns(), copies = 0;
    uint8_t *at = publisher->batch + publisher->cursor * publisher->stride;
    publisher->send_from = (size_t)(at - publisher->batch);
    publisher->send_to = publisher->send_from + count * publisher->stride;
    at += publisher->stamp_at;
    for (uint32_t slot = publisher->cursor; slot < publisher->cursor + count; slot++) {
        struct sequence *sequence = &load->sequences[publisher->slot_sequence[slot]];
        uint64_t words[2] = {due, (uint64_t)publisher->slot_sequence[slot] << SEQUENCE_SHIFT | sequence->sent++};
        memcpy(at, words, sizeof words);
        at += publisher->stride;
        due += publisher->interval_ns;
        copies += (uint64_t)sequence->copies;
    }
    if (publisher->interval_ns)
        publisher->due_ns = due;
    publisher->cursor = (publisher->cursor + count) % publisher->slots;
    publisher->sent += count;
    atomic_store_explicit(&worker->published, worker->published + count, memory_order_relaxed);
    atomic_store_explicit(&worker->copies_due, worker->copies_due + copies, memory_order_relaxed);
}

void publisher_pump(struct worker *worker, struct connection *connection) {
    struct publisher *publisher = connection->publisher;
    if (!publisher_ready(worker, publisher))
        return;
    if (publisher->send_from == publisher->send_to) {
        uint32_t due = messages_due(worker->load, publisher);
        if (due)
            stamp(worker, publisher, due);
    }
    ssize_t count = octets_send(connection->socket, publisher->batch + publisher->send_from,
                                publisher->send_to - publisher->send_from);
    if (count < 0 && errno != EAGAIN && errno != EINTR)
        fail("send");
    if (count > 0)
        publisher->send_from += (size_t)count;
}

void publisher_confirmed(struct worker *worker, struct publisher *publisher, uint64_t tag, bool multiple) {
    struct confirms *confirms = &publisher->confirms;
    uint64_t before = confirms->confirmed;
    if (tag > publisher->sent || tag <= confirms->below || tag - confirms->below >= CONFIRM_SPAN) {
        errno = 0;
        fail("a confirm for tag %llu of %llu, all up to %llu being confirmed", (unsigned long long)tag,
             (unsigned long long)publisher->sent, (unsigned long long)confirms->below);
    }
    uint8_t *flag = &confirms->above[tag % CONFIRM_SPAN];
    confirms->confirmed += !*flag;
    *flag = 1;
    if (multiple)
        for (uint64_t lower = confirms->below + 1; lower < tag; lower++) {
            confirms->confirmed += !confirms->above[lower % CONFIRM_SPAN];
            confirms->above[lower % CONFIRM_SPAN] = 1;
        }
    while (confirms->above[(confirms->below + 1) % CONFIRM_SPAN])
        confirms->above[++confirms->below % CONFIRM_SPAN] = 0;
    worker->confirmed += confirms->confirmed - before;
}

bool publisher_settled(const struct load *load, const struct publisher *publisher) {
    bool confirmed = !load->options.confirm_window || publisher->confirms.confirmed == publisher->sent;
    return confirmed && publisher->send_from == publisher->send_to;
}
