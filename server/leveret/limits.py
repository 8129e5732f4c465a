"""Every bound that is not a matter of configuration, with its unit and its reason.

What an operator may want to change is a key of `config.py`; what is here follows from the
protocol or from what the broker must survive whatever a peer sends.
"""

from typing import Final

# --- frames and names -----------------------------------------------------------------------

FRAME_MIN_SIZE: Final = 4096
"""Bytes: every peer must take frames of this size (AMQP 0-9-1, section 4.2.2, frame-min-size)."""

FRAME_OVERHEAD: Final = 8
"""Bytes of a frame around its payload: type, channel, size, and the frame-end octet."""

SHORT_STRING_BYTES_MAX: Final = 255
"""Bytes of a short string, so of every name and routing key (AMQP 0-9-1, section 4.2.5.3)."""

INITIAL_FRAME_BYTES_MAX: Final = 8192
"""Bytes of a frame before connection.tune-ok: start-ok with its client properties must fit, an
unauthenticated peer must not make the broker hold more (RabbitMQ 4.1: initial_frame_max)."""

# --- field tables ---------------------------------------------------------------------------

TABLE_DEPTH_MAX: Final = 64
"""Levels of tables and arrays in each other: they are walked by recursion, and compiled code has
no stack check. Nothing known to be in use nests deeper than six."""

TABLE_ENTRIES_MAX: Final = 8192
"""Entries of a table and all it contains: decoding takes time with the square of their number,
and at this many it stays near a tenth of a second for the largest frame."""

# --- connections ----------------------------------------------------------------------------

CLOSE_TIMEOUT_S: Final = 10.0
"""Seconds a peer has to answer a connection.close before its socket is cut."""

SILENT_CLOSE_DELAY_S: Final = 3.0
"""Seconds before a refused login without `authentication_failure_close` is cut, so that guessing
passwords is slow (RabbitMQ: SILENT_CLOSE_DELAY)."""

UNOPENED_CONNECTIONS_MAX: Final = 1024
"""Sockets beyond `amqp.max_connections`, so that a client over the limit is told, and one still
logging in is not in the way of those who are done."""

LISTEN_BACKLOG: Final = 1024
"""Connections the kernel holds while the broker is busy; a restart brings all clients at once."""

OVERDUE_TAGS_MAX: Final = 4096
"""Tags of a channel's overdue deliveries that are known still, so that settling them late is no
error: more than any client works on at a time, and no memory that grows for ever."""

# --- one iteration of the event loop --------------------------------------------------------

TICK_SLICE_CONNECTIONS: Final = 250
"""Connections whose heartbeats and timeouts one iteration checks: some 0.3 ms of work."""

OUTPUT_HIGH_WATER_BYTES: Final = 256 * 1024
"""Bytes waiting in a connection's writer at which its consumers stop being handed messages until
it was flushed: what a consumer that does not read can cost."""

IDLE_OUTPUT_BUFFER_BYTES: Final = 4096
"""Bytes of room a quiet connection's writer may keep."""

OUTPUT_REPLIES_BYTES_MAX: Final = 1024 * 1024
"""Bytes waiting in a connection's writer at which its requests wait too: what a peer that asks
and does not read the answers can cost, but for the one answer that crosses the line."""

INPUT_SLICE_BYTES: Final = 16 * 1024
"""Bytes of one connection's input worked through before it is the next one's turn."""

ITERATION_INPUT_BYTES: Final = 64 * 1024
"""Bytes of input that waits which one turn of the event loop takes on, whoever they came from:
some 0.3 ms of small publishes."""

DROP_SLICE_MESSAGES: Final = 500
"""Messages a queue drops in one go because they have expired or are too many: a millisecond or two
of work, be they dead letters. The rest of them waits until others have had their turn."""

RELEASE_SLICE_MESSAGES: Final = 200
"""Delayed messages that are due and go to their queues in one go, two milliseconds of work at most:
others have their turn between that many and the next."""

X_DEATH_ENTRIES_MAX: Final = 200
"""Queues and reasons a message may have died of before it is dropped: all of them stand in its
header, which is read at each death, and nobody has so many queues in a row but by mistake."""

THROTTLED_BACKLOG_MESSAGES: Final = 4096
"""Messages waiting in a queue from which on its publishers are held while consumers work: enough
to keep those busy for some milliseconds, few enough to be behind by no more than that."""

MESSAGE_OVERHEAD_BYTES: Final = 256
"""Bytes of a message in memory beyond its octets, about: its objects, and its place in a queue."""

RESTORED_BYTES_MAX: Final = 16 * 1024 * 1024
"""Memory that messages of one queue take at a start because only the log has them, before they go
to a file of the queue's: some times what a queue has in memory while it runs."""

REPLIES_WAITING_BYTES_MAX: Final = 8 * 1024 * 1024
"""Bytes of replies that wait for a requester that does not read, from which on further ones are
dropped (direct reply-to): enough for 30,000 small ones to requests sent in one go."""

# --- routing --------------------------------------------------------------------------------

ROUTE_CACHE_ENTRIES_MAX: Final = 16384
"""Routes a virtual host remembers by exchange and routing key. When full it starts anew, so keys
that never come back cost no more than finding their route."""

TOPIC_CACHE_SLOTS_MAX: Final = 8192
"""Routing keys and destinations, together, that a topic exchange remembers of recent matches: four
megabytes if all keys are as long as can be. When full it starts anew, with the match at hand,
which may be larger by itself."""

HASH_WEIGHT_MAX: Final = 1000
"""Weight of a binding to a consistent hash exchange: each unit costs points on its ring, ten
kilobytes of them, and time to make them."""

HISTORY_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of the messages a recent history exchange keeps, but for the last one: its length says how
many they are, and neither how large nor how many exchanges there are."""

HISTORY_MESSAGE_BYTES: Final = 256
"""Bytes a kept message counts for besides its header and body: about what the objects take."""
