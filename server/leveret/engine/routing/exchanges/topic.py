"""The topic exchange: routing keys are words between dots, bindings are patterns of words.

In a pattern `*` stands for exactly one word and `#` for any number of them, none included. A word
may be empty ("a..b" has three), but the empty routing key has no word at all.

Patterns without a wildcard are looked up whole. The others are in a trie (`topic_trie.py`), of
which a routing key follows only the nodes that its words reach. The matches of recent routing keys
are cached until a binding is made or removed.
"""

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.targets import TargetIndex
from leveret.engine.routing.exchanges.topic_trie import PatternTrie, TrieMatch, simplify, split
from leveret.engine.values.message import Message
from leveret.engine.values.time_slice import ENDLESS, TimeSlice
from leveret.engine.values.work import Work
from leveret.limits import TOPIC_CACHE_SLOTS_MAX


class TopicExchange(Exchange):
    """AMQP 0-9-1, section 3.1.3.3; the empty routing key as in RabbitMQ."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.uses_all_keys = True
        self._literal = TargetIndex()
        self._trie = PatternTrie()
        self._cache: dict[str, list[Destination]] = {}
        self._cache_slots = 0
        self.changes: i64 = 0
        """How often bindings were made or removed."""

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        self.begin_match(routing_key, message, into, ENDLESS)

    def begin_match(
        self,
        routing_key: str,
        message: Message | None,
        into: list[Destination],
        time_slice: TimeSlice,
    ) -> Work | None:
        found = self._cache.get(routing_key)
        if found is None:
            found = []
            self._literal.append(routing_key, found)
            if not self._trie.is_empty():
                match = self._trie.begin_match(split(routing_key), found)
                if not match.run(time_slice):
                    return _TopicMatch(self, routing_key, match, found, into)
            self.cache_match(routing_key, found)
        into.extend(found)
        return None

    def cache_match(self, routing_key: str, found: list[Destination]) -> None:
        """Note the destinations of a routing key until a binding is made or removed."""
        slots = 1 + len(found)
        if self._cache_slots + slots > TOPIC_CACHE_SLOTS_MAX:
            self._clear_cache()
        self._cache[routing_key] = found
        self._cache_slots += slots

    def _clear_cache(self) -> None:
        self.changes += 1
        if self._cache_slots:
            self._cache.clear()
            self._cache_slots = 0

    def _add(self, binding: Binding) -> None:
        self._clear_cache()
        key = binding.routing_key
        pattern = split(key)
        if "*" in pattern or "#" in pattern:
            self._trie.add(simplify(pattern), binding.destination)
        else:
            self._literal.add(key, binding.destination)

    def _remove(self, binding: Binding) -> None:
        self._clear_cache()
        key = binding.routing_key
        pattern = split(key)
        if "*" in pattern or "#" in pattern:
            self._trie.remove(simplify(pattern), binding.destination)
        else:
            self._literal.remove(key, binding.destination)


class _TopicMatch(Work):
    """The match of one routing key, which is cached if no binding has changed when it is done."""

    def __init__(
        self,
        exchange: TopicExchange,
        routing_key: str,
        match: TrieMatch,
        found: list[Destination],
        into: list[Destination],
    ) -> None:
        self._exchange = exchange
        self._changes = exchange.changes
        self._routing_key = routing_key
        self._match = match
        self._found = found
        self._into = into

    def run(self, time_slice: TimeSlice) -> bool:
        if not self._match.run(time_slice):
            return False
        if self._exchange.changes == self._changes:
            self._exchange.cache_match(self._routing_key, self._found)
        self._into.extend(self._found)
        return True
