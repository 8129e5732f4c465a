"""The modules that mypyc compiles, and whether this process runs them compiled.

`COMPILED` is the only list: setup.py reads it (from the file, so this module imports the standard
library only), `leveret --version` reports it, and a test compares it with the tree. The modules
form one mypyc group, in which calls and attribute accesses are direct C.
"""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final

COMPILED: Final = (
    "leveret.engine.access.rights",
    "leveret.protocol.wire.assembly",
    "leveret.protocol.wire.frames",
    "leveret.protocol.wire.output_parts",
    "leveret.engine.values.encoded_table",
    "leveret.protocol.channels.durability_gate",
    "leveret.protocol.channels.session",
    "leveret.protocol.wire.frame_reader",
    "leveret.protocol.connections.keepalive",
    "leveret.protocol.handlers.dispatch",
    "leveret.protocol.connections.channel_table",
    "leveret.protocol.connections.connection",
    "leveret.protocol.channels.channel",
    "leveret.protocol.channels.content",
    "leveret.protocol.channels.confirms",
    "leveret.protocol.channels.settlement",
    "leveret.protocol.channels.long_settlement",
    "leveret.protocol.channels.ending",
    "leveret.protocol.channels.delivery",
    "leveret.protocol.channels.acknowledgement_timer",
    "leveret.protocol.channels.deliveries",
    "leveret.protocol.channels.channel_consumer",
    "leveret.protocol.channels.published_properties",
    "leveret.protocol.channels.direct_reply_to",
    "leveret.protocol.channels.transaction",
    "leveret.protocol.channels.transaction_commit",
    "leveret.engine.routing.exchanges.base",
    "leveret.engine.routing.exchanges.direct",
    "leveret.engine.routing.exchanges.fanout",
    "leveret.engine.routing.exchanges.targets",
    "leveret.engine.routing.exchanges.topic_trie",
    "leveret.engine.routing.exchanges.topic",
    "leveret.engine.routing.exchanges.headers",
    "leveret.engine.routing.exchanges.hashing",
    "leveret.engine.routing.exchanges.rendezvous",
    "leveret.engine.routing.exchanges.consistent_hash",
    "leveret.engine.routing.exchanges.modulus_hash",
    "leveret.engine.routing.exchanges.random",
    "leveret.engine.routing.exchanges.recent_history",
    "leveret.engine.routing.exchanges.delayed",
    "leveret.engine.routing.exchanges.deduplicating",
    "leveret.engine.values.cache_share",
    "leveret.engine.values.deduplication",
    "leveret.engine.queues.queue",
    "leveret.engine.queues.contents",
    "leveret.engine.queues.limit_enforcer",
    "leveret.engine.queues.priority_backlog",
    "leveret.engine.queues.sorted_runs",
    "leveret.engine.queues.delayed_store",
    "leveret.engine.values.clock",
    "leveret.engine.values.counters",
    "leveret.engine.values.delivery_times",
    "leveret.engine.values.history",
    "leveret.engine.values.timers",
    "leveret.engine.values.time_slice",
    "leveret.engine.values.work",
    "leveret.engine.values.work_pause",
    "leveret.engine.values.settings",
    "leveret.engine.queues.queue_host",
    "leveret.engine.queues.queue_expiry",
    "leveret.engine.queues.delivery_counts",
    "leveret.engine.queues.redelivery",
    "leveret.engine.flow.publish",
    "leveret.engine.flow.release",
    "leveret.engine.values.properties",
    "leveret.engine.values.table_decoding",
    "leveret.engine.flow.dead_letters",
    "leveret.engine.flow.dead_letter_rewrite",
    "leveret.engine.routing.sink",
    "leveret.engine.routing.walk",
    "leveret.engine.routing.routes",
    "leveret.engine.queues.consumer_set",
    "leveret.engine.queues.consumer_rings",
    "leveret.engine.queues.consumer",
    "leveret.engine.values.message",
    "leveret.engine.values.delay",
    "leveret.engine.values.text",
    "leveret.engine.queues.backlog",
    "leveret.engine.queues.backpressure",
    "leveret.engine.queues.packed_run",
    "leveret.engine.queues.fifo_backlog",
    "leveret.engine.queues.chunks",
    "leveret.engine.queues.dead_letter",
    "leveret.engine.queues.drop_counters",
    "leveret.engine.queues.peek",
    "leveret.engine.queues.purge",
    "leveret.engine.queues.message_memory",
    "leveret.engine.queues.released",
    "leveret.engine.queues.requeued",
    "leveret.engine.values.field_table",
    "leveret.engine.vhost",
    "leveret.management.statistics.sampling",
    "leveret_storage.format.entries",
    "leveret_storage.format.runs",
    "leveret_storage.format.segment_start",
    "leveret_storage.recovery.log_scan",
    "leveret_storage.recovery.transaction_reader",
    "leveret_storage.segments.position_ranges",
    "leveret_storage.segments.queue_journal",
    "leveret_storage.segments.needed_messages",
    "leveret_storage.segments.body_segment",
    "leveret_storage.segments.log_segment",
    "leveret_storage.segments.run_buffer",
    "leveret_storage.store.limits",
    "leveret_storage.store.failure",
    "leveret_storage.store.numbers",
    "leveret_storage.store.open_batch",
    "leveret_storage.store.transaction",
    "leveret_storage.store.context",
    "leveret_storage.store.large_messages",
    "leveret_storage.store.commits_in_flight",
    "leveret_storage.store.checkpoint_writer",
    "leveret_storage.store.commit_log",
    "leveret_storage.store.queue_runs",
    "leveret_storage.store.shared_bodies",
    "leveret_storage.store.log_emptier",
    "leveret_storage.store.compaction",
    "leveret_storage.recovery.checkpoint_reader",
    "leveret_storage.recovery.recover",
    "leveret_storage.recovery.recovered_queue",
    "leveret_storage.recovery.run_finder",
    "leveret_storage.recovery.segment_scan",
    "leveret_storage.recovery.spill",
    "leveret_storage.recovery.body_check",
    "leveret_storage.store.store",
)


def loaded_from_shared_object(module: str) -> bool:
    """Whether Python imports `module` from a shared object, and not from its .py file."""
    spec = find_spec(module)
    origin = spec.origin if spec else None
    return origin is not None and origin.endswith(tuple(EXTENSION_SUFFIXES))


COMPILED_BUILD: Final = "compiled"
"""The kind of a build in which all of the modules are compiled."""


def build_kind() -> str:
    """`compiled`, `plain Python`, or the number of compiled modules."""
    compiled = sum(loaded_from_shared_object(module) for module in COMPILED)
    if compiled == len(COMPILED):
        return COMPILED_BUILD
    if compiled == 0:
        return "plain Python"
    return f"partly compiled: {compiled} of {len(COMPILED)} modules"
