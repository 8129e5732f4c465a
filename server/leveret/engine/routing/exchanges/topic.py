"""The topic exchange: routing keys are words between dots, bindings are patterns of words.

In a pattern `*` stands for exactly one word and `#` for any number of them, none included. A word
may be empty ("a..b" has three), but the empty routing key has no word at all.

Patterns without a wildcard are looked up whole. The others are in a trie (`topic_trie.py`), of
which a routing key follows only the nodes that its words reach. The matches of recent routing keys
are cached until a binding is made or removed.
"""

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
)
from leveret.engine.routing.exchanges.targets import TargetIndex
from leveret.engine.routing.exchanges.topic_trie import PatternTrie, simplify, split
from leveret.engine.values.message import Message
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

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        found = self._cache.get(routing_key)
        if found is None:
            found = []
            self._literal.append(routing_key, found)
            if not self._trie.is_empty():
                self._trie.begin_match(split(routing_key), found).run(None)
            self._cache_match(routing_key, found)
        into.extend(found)

    def _cache_match(self, routing_key: str, found: list[Destination]) -> None:
        slots = 1 + len(found)
        if self._cache_slots + slots > TOPIC_CACHE_SLOTS_MAX:
            self._clear_cache()
        self._cache[routing_key] = found
        self._cache_slots += slots

    def _clear_cache(self) -> None:
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
