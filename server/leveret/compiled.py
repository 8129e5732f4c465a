"""Which modules mypyc compiles, and which of them this process runs compiled.

This is the one list of them: setup.py reads it (by path, so nothing may be imported here that is
not in the standard library), `leveret --version` reports on it, and the tests hold it against the
tree. The modules form one mypyc group, in which calls and attribute access are direct C.
"""

from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from typing import Final

COMPILED: Final = (
    "leveret.protocol.frames",
    "leveret.tables",
    "leveret.protocol.withheld",
    "leveret.protocol.session",
    "leveret.protocol.input",
    "leveret.protocol.connection",
    "leveret.protocol.channel",
    "leveret.protocol.deliveries",
    "leveret.protocol.publishing",
    "leveret.protocol.replies",
    "leveret.protocol.transaction",
    "leveret.engine.exchanges.base",
    "leveret.engine.exchanges.direct",
    "leveret.engine.exchanges.fanout",
    "leveret.engine.exchanges.topic",
    "leveret.engine.exchanges.headers",
    "leveret.engine.exchanges.hashing",
    "leveret.engine.exchanges.ring",
    "leveret.engine.exchanges.consistent_hash",
    "leveret.engine.exchanges.modulus_hash",
    "leveret.engine.exchanges.random",
    "leveret.engine.exchanges.recent_history",
    "leveret.engine.exchanges.delayed",
    "leveret.engine.exchanges.deduplicating",
    "leveret.engine.deduplication",
    "leveret.engine.duplicates",
    "leveret.engine.queue",
    "leveret.engine.lanes",
    "leveret.engine.strands",
    "leveret.engine.delayed_queue",
    "leveret.engine.clock",
    "leveret.engine.timers",
    "leveret.engine.settings",
    "leveret.engine.home",
    "leveret.engine.lease",
    "leveret.engine.redelivery",
    "leveret.engine.keeping",
    "leveret.engine.properties",
    "leveret.engine.dead_letters",
    "leveret.engine.turns",
    "leveret.engine.consumer",
    "leveret.engine.message",
    "leveret.engine.backlog",
    "leveret.engine.table",
    "leveret.engine.vhost",
    "leveret_storage.entries",
    "leveret_storage.log_scan",
    "leveret_storage.ranges",
    "leveret_storage.queue_log",
    "leveret_storage.log_segment",
    "leveret_storage.compaction",
    "leveret_storage.recovery",
    "leveret_storage.run_finder",
    "leveret_storage.spill",
    "leveret_storage.store",
)


def loaded_from_shared_object(module: str) -> bool:
    """Whether importing `module` here takes a shared object rather than its .py file."""
    spec = find_spec(module)
    origin = spec.origin if spec else None
    return origin is not None and origin.endswith(tuple(EXTENSION_SUFFIXES))


def build_kind() -> str:
    """`compiled`, `plain Python`, or how many of the listed modules are which."""
    compiled = sum(loaded_from_shared_object(module) for module in COMPILED)
    if compiled == len(COMPILED):
        return "compiled"
    if compiled == 0:
        return "plain Python"
    return f"partly compiled: {compiled} of {len(COMPILED)} modules"
