"""Every limit that is not configurable, with its unit and its reason.

A limit that an operator may want to change is a key of `config.py`. The limits here follow from the
protocol, or from input of peers that the broker must survive.
"""

from typing import Final

# --- frames and names -----------------------------------------------------------------------

FRAME_MIN_SIZE: Final = 4096
"""Bytes: every peer must take frames of this size (AMQP 0-9-1, section 4.2.2, frame-min-size)."""

FRAME_OVERHEAD: Final = 8
"""Bytes of a frame without its payload: type, channel, size, and the frame-end octet."""

SHORT_STRING_BYTES_MAX: Final = 255
"""Bytes of a short string, and so of a name or a routing key (AMQP 0-9-1, section 4.2.5.3)."""

INITIAL_FRAME_BYTES_MAX: Final = 8192
"""Bytes of a frame before connection.tune-ok. A start-ok with its client properties must fit, and
an unauthenticated peer must not make the broker buffer more (RabbitMQ 4.1: initial_frame_max)."""

# --- field tables ---------------------------------------------------------------------------

TABLE_DEPTH_MAX: Final = 64
"""Levels of nested tables and arrays. Recursion walks them, and compiled code has no stack check.
No client in known use nests deeper than six."""

TABLE_ENTRIES_MAX: Final = 8192
"""Entries of a table with all nested ones. A frame with a table is handled in one turn of the event
loop: with this many entries it takes some milliseconds."""

REMEMBERED_HEADER_BYTES_MAX: Final = 4096
"""Bytes of a content header up to which a channel remembers it, so that equal ones need no check.
A connection may have thousands of channels."""

# --- connections ----------------------------------------------------------------------------

CLOSE_TIMEOUT_S: Final = 10.0
"""Seconds that a peer has to answer connection.close before its socket is closed."""

SILENT_CLOSE_DELAY_S: Final = 3.0
"""Seconds before the socket of a refused login is closed if the client lacks the capability
`authentication_failure_close`, so that guessing passwords is slow (RabbitMQ:
SILENT_CLOSE_DELAY)."""

UNOPENED_CONNECTIONS_MAX: Final = 1024
"""Sockets beyond `amqp.max_connections`. They let a client above the limit receive an error, and
clients that are still logging in do not take the place of open connections."""

LISTEN_BACKLOG: Final = 1024
"""Connections that the kernel queues while the broker is busy. After a restart all clients
reconnect at once."""

OVERDUE_TAGS_MAX: Final = 4096
"""Tags of a channel's overdue deliveries that the channel remembers, so that settling them late is
no error. It is more than a client processes at a time, and bounds the memory."""

# --- one iteration of the event loop --------------------------------------------------------

TICK_SLICE_CONNECTIONS: Final = 250
"""Connections whose heartbeats and timeouts one iteration checks: some 0.3 ms of work."""

TICK_SLICE_NS: Final = 500_000
"""Nanoseconds of an iteration for these checks: a connection that is found dead takes longer."""

OUTPUT_HIGH_WATER_BYTES: Final = 256 * 1024
"""Bytes of buffered output from which on a connection's consumers get no deliveries until it is
flushed: the memory that a consumer that does not read can take."""

IDLE_OUTPUT_BUFFER_BYTES: Final = 4096
"""Bytes that the output buffer of an idle connection may keep allocated."""

OUTPUT_REPLIES_BYTES_MAX: Final = 1024 * 1024
"""Bytes of buffered output from which on a connection's requests are not read: the memory that a
peer that does not read its replies can take, except for the one reply that crosses the limit."""

INPUT_SLICE_BYTES: Final = 16 * 1024
"""Bytes of one connection's input that are processed before the next connection's."""

ITERATION_INPUT_BYTES: Final = 64 * 1024
"""Bytes of buffered input that one iteration of the event loop processes, of all connections
together: some 0.3 ms of small publishes. What takes longer is bounded by ITERATION_NS."""

SLICE_NS: Final = 250_000
"""Nanoseconds of a time slice: what one connection asks for may go on for this long before others'
turn. It is a few times what INPUT_SLICE_BYTES of small publishes take."""

ITERATION_NS: Final = 2_000_000
"""Nanoseconds for which one iteration of the event loop processes input and other work. A confirm
takes two or three iterations, and has to be there in 15 ms whatever other clients do."""

ITERATION_NS_MIN: Final = 500_000
"""Nanoseconds of an iteration that buffered input gets at least, when input that is processed as it
arrives takes all the time."""

ACCOUNTED_NS_MAX: Final = 10 * ITERATION_NS
"""Nanoseconds that one time slice counts for at most, where connections share by the time they use.
No slice takes so long unless the process stood still in it (stopped, or without a core), and then
its connection would wait until each of the others had used as much."""

WORK_NS: Final = 500_000
"""Nanoseconds of an iteration that work gets which no connection waits for, such as dead letters:
a quarter, however many connections are busy, and all that they leave."""

RESUME_NS: Final = 1_000_000
"""Nanoseconds of an iteration for deliveries to consumers whose output has drained."""

BACKPRESSURE_RETRY_MS: Final = 5
"""Milliseconds that dead letters, delayed messages and the commits of long transactions wait for
the disk if it does not keep up."""

DEAD_LETTERS_WAITING_MAX: Final = 1024
"""Dead letters of a virtual host that wait to be published, from which on the work that makes more
of them waits: some 10 ms of work, and a kilobyte or two each beside their bodies."""

DEAD_LETTERS_WAITING_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of their bodies from which on it waits, too. A body that several share counts for each."""

DEAD_LETTERS_IN_ORDER_MAX: Final = 8192
"""Dead letters of a virtual host that wait, up to which those of each queue stay in order even
where dead letters make others in a circle. With more, the newest are published first, which needs
no more memory."""

X_DEATH_ENTRIES_MAX: Final = 200
"""Entries of x-death, one for each queue and reason, from which on a dead letter is dropped. The
header is decoded at each dead-lettering, and only a misconfiguration has so many queues in a
row."""

LARGE_BODY_BYTES_MIN: Final = 16 * 1024
"""Bytes of a body from which on the medium is asked whether a persistent message may wait for it
beside smaller ones: it is a call more for each message."""

THROTTLED_BACKLOG_MESSAGES: Final = 4096
"""Ready messages of a queue from which on its publishers are throttled while consumers are busy:
enough to keep consumers busy for some milliseconds, and no more delay than that."""

THROTTLED_BACKLOG_BYTES: Final = 1024 * 1024
"""Bytes of the bodies of a queue's ready messages from which on its publishers are throttled while
consumers are busy. It is less than a queue has in memory, so that a publisher that outruns its
consumer does not fill the disk."""

MESSAGE_OVERHEAD_BYTES: Final = 256
"""Approximate bytes of a message in memory beyond its content: its objects, and its queue entry."""

RESTORED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of memory that the messages of one queue may take during recovery, because only the log
contains them, before they are flushed to the queue's segments: a few times what a queue has in
memory while the broker runs."""

REPLIES_WAITING_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of buffered replies to a requester that does not read, from which on further replies are
dropped (direct reply-to): enough for 30,000 small replies to requests that were sent at once."""

# --- routing --------------------------------------------------------------------------------

ROUTE_CACHE_ENTRIES_MAX: Final = 16384
"""Routes that a virtual host caches by exchange and routing key. A full cache is emptied, so keys
that never come again cost no more than finding their route."""

REMOVED_BINDINGS_MIN: Final = 500
"""Bindings of a deleted queue or exchange that are removed at once, some 0.3 ms of work. Only if
there are more, and the time slice is over, the rest waits for later slices."""

REPLAYED_MESSAGES_MIN: Final = 64
"""Messages of a history that a new binding gets at once, in some 0.1 ms; the rest is cut into
slices."""

WIDE_ROUTE_SINKS: Final = 64
"""Sinks from which on a route is wide: to find it again is little beside a publish to all of
them."""

WIDE_ROUTES_SINKS_MAX: Final = 131072
"""Sinks of all wide routes that a virtual host caches, together: a megabyte."""

FAN_OUT_AT_ONCE: Final = 500
"""Sinks that a publish goes to at once and in one entry of the log: some 0.5 ms of work. What goes
to more of them is cut into slices."""

ROUTES_DROPPED_AT_ONCE: Final = 1000
"""Cached routes that are dropped at once when bindings change, in some 0.2 ms. Dropping more of
them is cut into slices."""

TOPIC_CACHE_SLOTS_MAX: Final = 8192
"""Routing keys and destinations, together, in a topic exchange's cache of matches: four megabytes
if all keys have the maximum length. A full cache is emptied before the next match is added, which
may exceed the limit by itself."""

HASH_CACHE_ENTRIES_MAX: Final = 8192
"""Results of recent searches that a consistent hash exchange with many destinations keeps: one
megabyte. A full cache is emptied."""

TRANSACTION_BYTES_MAX: Final = 512 * 1024 * 1024
"""Bytes of memory of what one transaction has published. It is durable as a whole or not at all, so
all of it is in one segment of the log, and a start has it in memory."""

HISTORY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of the messages in the history of one exchange, except for the last message. The length of
the history limits their number, but not their size."""
