/* amqpload: load an AMQP 0-9-1 broker over raw sockets, and print the measured rates as one JSON object.
 *
 * The figure is the rate that consumers received during the measured seconds, after a warm-up; the publishers'
 * rate is printed, too. With --rate, messages are due at fixed times whatever the broker does, and latency starts
 * at the time a message was due. Afterwards the publishers stop, the queues are drained (for --drain seconds
 * at most) and deleted, and every message is counted: received, left in a queue, lost or duplicated.
 * The program declares its queues and exchanges and deletes them. Exit status 2 means that there is no result.
 */
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define QUIET_S 2.0    /* draining ends after so long without a message */
#define GIVE_UP_S 20.0 /* for the replies to the closing methods */
#define STALLED_S 30.0 /* filling or draining fails after so long without progress */
#define POLL_NS 20000000u
#define COUNT_POLL_NS 2000000u

static const char usage[] =
    "usage: amqpload [options]\n"
    "  --host ADDRESS --port N --user NAME --password TEXT\n"
    "  --vhost NAME      virtual host (/)\n"
    "  --tls 1           TLS, without a check of the broker's certificate\n"
    "  --shape queue     one queue, one publisher, one consumer (default)\n"
    "          fanout    a fanout exchange with --queues queues, a consumer each\n"
    "          topic     a topic exchange with --bindings bindings to --queues queues, a consumer each\n"
    "          channels  --connections of --channels channels, publishing and consuming in pairs\n"
    "          pairs     --connections publishers and as many consumers, a queue for each two\n"
    "          relay     no broker: the same frames through a relay that pairs two connections\n"
    "          limit     a publisher to a queue that keeps --max-length messages, and no consumer\n"
    "          dead      a queue in which every message expires at once, and a consumer of its dead letters\n"
    "          fill      publish --count messages to --queue, which nobody consumes from\n"
    "          drain     consume --count messages from --queue; these two run until it is done\n"
    "  --size BYTES      of a body (16)\n"
    "  --ack N           0 auto-ack (default), 1 an ack each delivery, N an ack every N, with multiple\n"
    "  --prefetch N      with acks (1000)\n"
    "  --confirm N       publisher confirms, N messages unconfirmed at most (0: none)\n"
    "  --durable 1       durable queues and persistent messages (0)\n"
    "  --quorum 1        quorum queues, with --durable 1 (0)\n"
    "  --expiration MS   of every message (none)\n"
    "  --consumers N     queue: so many consumers, all on one channel (1)\n"
    "  --priorities N    queue: messages of so many priorities in turn (none)\n"
    "  --max-length N    limit (1000)\n"
    "  --queue NAME --count N --first N   fill and drain; --first is the number of their first message (0)\n"
    "  --rate N          messages a second, due at fixed times (0: as fast as the broker takes them)\n"
    "  --warmup S --seconds S --drain S   (1, 5, 10)\n"
    "  --backlog N       publishers wait when so many messages are undelivered (1000000), or 512 MiB of bodies\n"
    "  --broker-pid PID  report that process's processor time too\n";

struct sample {
    double at_s, publisher_cpu_s, consumer_cpu_s, broker_cpu_s, machine_cpu_s;
    uint64_t published, received, throttled;
};

static enum shape parse_shape(const char *name) {
    static const char *const names[] = {"queue", "fanout", "topic", "channels", "relay", "pairs", "fill", "drain",
                                        "limit", "dead"};
    for (int i = 0; i < (int)(sizeof names / sizeof *names); i++)
        if (!strcmp(name, names[i]))
            return (enum shape)i;
    fail("no shape is called %s", name);
}

static double number(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (*end || end == text || !(value >= least && value <= most))
        fail("--%s takes a number from %g to %g", name, least, most);
    return value;
}

static void set_option(struct options *options, const char *name, const char *value) {
    struct { const char *name; int *to; double least, most; } integers[] = {
        {"port", &options->endpoint.port, 1, 65535},
        {"size", &options->body_size, STAMP_SIZE, BODY_MAX},
        {"queues", &options->queues, 1, 9999},
        {"bindings", &options->bindings, 1, 9999},
        {"connections", &options->connections, 2, 1000},
        {"channels", &options->channels, 2, CHANNELS_MAX},
        {"ack", &options->ack, 0, 65535},
        {"prefetch", &options->prefetch, 1, 65535},
        {"confirm", &options->confirm_window, 0, 65536},
        {"rate", &options->rate, 0, 10000000},
        {"durable", &options->durable, 0, 1},
        {"quorum", &options->quorum, 0, 1},
        {"consumers", &options->consumers, 1, CONSUMERS_MAX},
        {"priorities", &options->priorities, 1, PRIORITIES_MAX},
        {"max-length", &options->max_length, 1, 1 << 30},
        {"broker-pid", &options->broker_pid, 0, 1 << 30},
        {"tls", &options->endpoint.tls, 0, 1},
    };
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (!strcmp(name, integers[i].name))
            *integers[i].to = (int)number(name, value, integers[i].least, integers[i].most);
    if (!strcmp(name, "host")) options->endpoint.host = value;
    if (!strcmp(name, "vhost")) options->endpoint.vhost = value;
    if (!strcmp(name, "user")) options->endpoint.user = value;
    if (!strcmp(name, "password")) options->endpoint.password = value;
    if (!strcmp(name, "expiration")) options->expiration = value;
    if (!strcmp(name, "queue")) options->queue = value;
    if (!strcmp(name, "count")) options->count = (uint64_t)number(name, value, 1, 1e12);
    if (!strcmp(name, "first")) options->first = (uint64_t)number(name, value, 0, 1e12);
    if (!strcmp(name, "shape")) options->shape = parse_shape(value);
    if (!strcmp(name, "warmup")) options->warmup_s = number(name, value, 0, 3600);
    if (!strcmp(name, "seconds")) options->measured_s = number(name, value, 0.01, 3600);
    if (!strcmp(name, "drain")) options->drain_s = number(name, value, 0, 3600);
    if (!strcmp(name, "backlog")) options->backlog = (uint64_t)number(name, value, 1, 1e12);
}

static bool is_counted(const struct options *options) {
    return options->shape == SHAPE_FILL || options->shape == SHAPE_DRAIN;
}

static struct options parse_options(int argc, char **argv) {
    static const char *const names[] = {"host", "port", "user", "password", "shape", "size", "queues", "bindings",
                                        "connections", "channels", "ack", "prefetch", "confirm", "rate", "warmup",
                                        "seconds", "drain", "backlog", "broker-pid", "durable", "queue", "count",
                                        "first", "consumers", "priorities", "max-length", "expiration", "tls",
                                        "quorum", "vhost"};
    enum { COUNT = sizeof names / sizeof *names };
    struct option known[COUNT + 1] = {0};
    struct options options = {
        .endpoint = {.host = "127.0.0.1", .user = "guest", .password = "guest", .vhost = "/",
                     .port = 5672},
        .body_size = 16, .queues = 10, .bindings = 1000, .connections = 100, .channels = 10,
        .prefetch = 1000, .consumers = 1, .max_length = 1000, .warmup_s = 1, .measured_s = 5, .drain_s = 10, .backlog = 1000000,
    };
    for (int i = 0; i < COUNT; i++)
        known[i] = (struct option){names[i], required_argument, NULL, i};
    errno = 0;
    for (int found; (found = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (found == '?') {
            fputs(usage, stderr);
            exit(2);
        }
        set_option(&options, names[found], optarg);
    }
    if (optind < argc)
        fail("%s is no option", argv[optind]);
    uint64_t most = BACKLOG_BYTES / (uint64_t)options.body_size;
    options.backlog = options.backlog < most ? options.backlog : most;
    if (options.ack > 1 && options.ack > options.prefetch)
        fail("with --ack above --prefetch the consumer would wait for itself");
    if (options.shape == SHAPE_CHANNELS && (options.channels % 2 || options.confirm_window))
        fail("the channels come in pairs, and without confirms");
    bool counted = is_counted(&options);
    if (counted != (options.queue != NULL) || counted != (options.count != 0) || (options.first && !counted))
        fail("fill and drain take --queue and --count, and nothing else does");
    if (options.quorum && !options.durable)
        fail("quorum queues are durable: --durable 1");
    if (options.queue && strlen(options.queue) >= NAME_SIZE)
        fail("a queue's name of %d bytes at most", NAME_SIZE - 1);
    if (options.priorities && options.shape != SHAPE_QUEUE)
        fail("priorities are for the shape queue");
    if (options.consumers > 1 && options.shape != SHAPE_QUEUE)
        fail("more than one consumer of a queue are for the shape queue");
    if (options.shape == SHAPE_LIMIT && !options.confirm_window)
        fail("with limit only confirms tell how fast the broker is");
    if (options.shape == SHAPE_RELAY && (options.ack || options.confirm_window))
        fail("a relay neither confirms nor takes acks");
    return options;
}

/* Publishers to the first worker, consumers to the second; connections that do both alternate. */
static void assign(struct load *load) {
    for (int i = 0; i < load->connection_count; i++) {
        struct connection *connection = &load->connections[i];
        int to = !connection->publisher ? 1 : !connection->consumers_open ? 0 : i % WORKERS;
        struct worker *worker = &load->workers[to];
        if (!worker->connections)
            worker->connections = must(calloc((size_t)load->connection_count, sizeof *worker->connections));
        worker->connections[worker->connection_count++] = connection;
        worker->publishers_open += connection->publisher != NULL;
    }
}

static double thread_cpu_s(pthread_t thread) {
    clockid_t clock;
    struct timespec time;
    if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &time))
        return 0;
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* User and system time of a process, from fields 14 and 15 of its stat file (proc(5)). */
static double process_cpu_s(pid_t pid) {
    char path[64], line[1024];
    unsigned long user, system;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = pid ? fopen(path, "r") : NULL;
    if (!file)
        return 0;
    size_t size = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[size] = 0;
    const char *after_name = strrchr(line, ')');
    if (!after_name || sscanf(after_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
        return 0;
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* The time that all processors spent busy, with stolen time: the first line of /proc/stat (proc(5)). */
static double machine_cpu_s(void) {
    unsigned long long user, nice, system, idle, iowait, irq, softirq, steal;
    FILE *file = fopen("/proc/stat", "r");
    if (!file)
        return 0;
    int found = fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &iowait,
                       &irq, &softirq, &steal);
    fclose(file);
    return found == 8 ? (double)(user + nice + system + irq + softirq + steal) / (double)sysconf(_SC_CLK_TCK) : 0;
}

static struct sample take_sample(const struct load *load, const pthread_t threads[WORKERS]) {
    struct sample sample = {.publisher_cpu_s = thread_cpu_s(threads[0]), .consumer_cpu_s = thread_cpu_s(threads[1])};
    for (int i = 0; i < WORKERS; i++) {
        sample.published += load->workers[i].published;
        sample.received += load->workers[i].received;
        sample.throttled += load->workers[i].throttled_rounds;
    }
    sample.at_s = (double)now_ns() / 1e9;
    sample.machine_cpu_s = machine_cpu_s();
    sample.broker_cpu_s = process_cpu_s(load->options.broker_pid);
    return sample;
}

static void sleep_until(uint64_t at_ns) {
    struct timespec at = {(time_t)(at_ns / 1000000000u), (long)(at_ns % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        continue;
}

/* Wait until everything published has arrived, nothing has arrived for QUIET_S, or the time is over. */
static void drain(struct load *load, const pthread_t threads[WORKERS]) {
    double begun = (double)now_ns() / 1e9, heard = begun;
    uint64_t received = 0;
    load->phase = PHASE_DRAIN;
    for (;;) {
        struct sample sample = take_sample(load, threads);
        uint64_t due = load->workers[0].copies_due + load->workers[1].copies_due;
        bool published = !load->workers[0].publishers_open && !load->workers[1].publishers_open;
        if (sample.received != received)
            heard = sample.at_s;
        received = sample.received;
        if (published && received >= due)
            break;
        if (sample.at_s - begun > load->options.drain_s || sample.at_s - heard > QUIET_S)
            break;
        sleep_until(now_ns() + POLL_NS);
    }
    load->give_up_ns = now_ns() + (uint64_t)(GIVE_UP_S * 1e9);
    load->phase = PHASE_CANCEL;
}

/* Fill or drain: wait until it is done, or there was no progress for STALLED_S. */
static struct sample await_count(struct load *load, const pthread_t threads[WORKERS]) {
    bool filling = load->options.shape == SHAPE_FILL;
    uint64_t done = 0;
    double moved = (double)now_ns() / 1e9;
    for (;;) {
        struct sample sample = take_sample(load, threads);
        if (filling && sample.published == load->options.count)
            load->phase = PHASE_DRAIN; /* the publisher closes when all is confirmed */
        bool finished = filling ? !load->workers[0].publishers_open : sample.received >= load->options.count;
        if (sample.published + sample.received != done)
            moved = sample.at_s;
        done = sample.published + sample.received;
        if (finished || sample.at_s - moved > STALLED_S) {
            load->give_up_ns = now_ns() + (uint64_t)(GIVE_UP_S * 1e9);
            load->phase = PHASE_CANCEL;
            return sample;
        }
        sleep_until(now_ns() + COUNT_POLL_NS);
    }
}

struct account {
    uint64_t due, received, repeated, gaps, left, confirmed;
    bool complete; /* every channel was closed by both sides, so no message is in flight */
};

static struct account settle(const struct load *load, uint64_t left, bool complete) {
    struct account account = {.left = left, .complete = complete};
    for (int i = 0; i < load->sequence_count; i++)
        account.due += load->sequences[i].sent * (uint64_t)load->sequences[i].copies;
    if (load->options.shape == SHAPE_DRAIN)
        account.due = load->options.count;
    if (load->options.shape == SHAPE_LIMIT) {
        uint64_t most = (uint64_t)load->options.max_length;
        account.due = load->sequences[0].sent < most ? load->sequences[0].sent : most;
    }
    for (int i = 0; i < WORKERS; i++) {
        account.received += load->workers[i].received;
        account.confirmed += load->workers[i].confirmed;
    }
    for (int i = 0; i < load->connection_count; i++)
        for (int channel = 0; channel <= CHANNELS_MAX; channel++) {
            const struct consumer *consumer = load->connections[i].consumers[channel];
            account.repeated += consumer ? consumer->repeated : 0;
            account.gaps += consumer ? consumer->gaps : 0;
        }
    return account;
}

static void print_report(const struct load *load, const struct sample *begin, const struct sample *end,
                         const struct account *account) {
    struct histogram latency;
    double seconds = end->at_s - begin->at_s;
    histogram_init(&latency);
    for (int i = 0; i < WORKERS; i++)
        histogram_add(&latency, &load->workers[i].latency);
    printf("{\"seconds\": %.3f, \"published_per_s\": %.1f, \"received_per_s\": %.1f, ", seconds,
           (double)(end->published - begin->published) / seconds, (double)(end->received - begin->received) / seconds);
    printf("\"due\": %llu, \"received\": %llu, \"left\": %llu, \"confirmed\": %llu, ",
           (unsigned long long)account->due, (unsigned long long)account->received, (unsigned long long)account->left,
           (unsigned long long)account->confirmed);
    if (account->complete)
        printf("\"lost\": %lld, ", (long long)(account->due + account->repeated - account->received - account->left));
    else
        printf("\"lost\": null, ");
    printf("\"gaps\": %llu, \"duplicated\": %llu, \"throttled\": %s, ", (unsigned long long)account->gaps,
           (unsigned long long)account->repeated, end->throttled > begin->throttled ? "true" : "false");
    printf("\"p50_us\": %.0f, \"p99_us\": %.0f, \"p999_us\": %.0f, \"max_us\": %.0f, ",
           histogram_percentile_us(&latency, .5), histogram_percentile_us(&latency, .99),
           histogram_percentile_us(&latency, .999), (double)latency.longest_ns / 1000);
    double publisher = end->publisher_cpu_s - begin->publisher_cpu_s;
    double consumer = end->consumer_cpu_s - begin->consumer_cpu_s;
    double broker = end->broker_cpu_s - begin->broker_cpu_s;
    double other = end->machine_cpu_s - begin->machine_cpu_s - publisher - consumer - broker;
    printf("\"publisher_cpu\": %.3f, \"consumer_cpu\": %.3f, \"broker_cpu\": %.3f, \"other_cpu\": %.3f}\n",
           publisher / seconds, consumer / seconds, broker / seconds, other > 0 ? other / seconds : 0);
}

int main(int argc, char **argv) {
    static struct load load;
    pthread_t threads[WORKERS];
    load.options = parse_options(argc, argv);
    topology_build(&load);
    assign(&load);
    load.window_begin_ns = now_ns() + (uint64_t)(load.options.warmup_s * 1e9);
    load.window_end_ns = load.window_begin_ns + (uint64_t)(load.options.measured_s * 1e9);
    for (int i = WORKERS - 1; i >= 0; i--) {
        load.workers[i].load = &load;
        histogram_init(&load.workers[i].latency);
        if (pthread_create(&threads[i], NULL, worker_run, &load.workers[i]))
            fail("pthread_create");
    }
    bool counted = is_counted(&load.options);
    if (!counted)
        sleep_until(load.window_begin_ns);
    struct sample begin = take_sample(&load, threads), end;
    if (counted) {
        end = await_count(&load, threads);
    } else {
        sleep_until(load.window_end_ns);
        end = take_sample(&load, threads);
        drain(&load, threads);
    }
    bool complete = true;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < load.connection_count; i++)
        complete = complete && connection_finished(&load.connections[i]);
    struct account account = settle(&load, topology_remove(&load), complete);
    print_report(&load, &begin, &end, &account);
    return 0;
}
