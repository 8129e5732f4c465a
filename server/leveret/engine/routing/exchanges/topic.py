"""The topic exchange: routing keys are words between dots, bindings are patterns of words.

In a pattern `*` stands for exactly one word and `#` for any number of them, none included. A word
may be empty ("a..b" has three), but the empty routing key has no word at all.

Patterns without a wildcard are looked up whole. The others are in a trie with one word a node, and
a routing key follows, word by word, only the nodes that have matched so far: the time does not
depend on the number of bindings. Patterns like `#.*.#.*.#` cannot make it slow: the nodes below a
`#` are followed at most once from each word, so the steps of a match are at most the words of the
key times the nodes of the trie.

A match recurses at most once for each word of a pattern, so 256 deep: patterns are short strings.

The matches of recent routing keys are cached until a binding is made or removed.
"""

from leveret.engine.routing.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    ExchangeDeclaration,
    Targets,
    add_target,
    remove_target,
)
from leveret.engine.values.message import Message
from leveret.limits import TOPIC_CACHE_SLOTS_MAX


class _Node:
    """A node of the trie: all patterns that begin with the same words.

    `match` is the number of the last match that reached this node, if it is a `#`.
    """

    def __init__(self) -> None:
        self.match = 0
        self.targets: Targets = {}
        self.words: dict[str, _Node] = {}
        self.star: _Node | None = None
        self.hash: _Node | None = None

    def child(self, word: str) -> "_Node | None":
        if word == "*":
            return self.star
        if word == "#":
            return self.hash
        return self.words.get(word)

    def make_child(self, word: str) -> "_Node":
        node = _Node()
        if word == "*":
            self.star = node
        elif word == "#":
            self.hash = node
        else:
            self.words[word] = node
        return node

    def remove_child(self, word: str) -> None:
        if word == "*":
            self.star = None
        elif word == "#":
            self.hash = None
        else:
            del self.words[word]

    def is_empty(self) -> bool:
        return not (self.targets or self.words) and self.star is None and self.hash is None


class TopicExchange(Exchange):
    """AMQP 0-9-1, section 3.1.3.3; the empty routing key as in RabbitMQ."""

    def __init__(self, declared: ExchangeDeclaration) -> None:
        super().__init__(declared)
        self.uses_all_keys = True
        self._literal: dict[str, Targets] = {}
        self._root = _Node()
        self._matches = 0
        self._cache: dict[str, list[Destination]] = {}
        self._cache_slots = 0

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        found = self._cache.get(routing_key)
        if found is None:
            found = []
            targets = self._literal.get(routing_key)
            if targets is not None:
                found.extend(targets)
            if not self._root.is_empty():
                self._match_patterns(routing_key, found)
            self._cache_match(routing_key, found)
        into.extend(found)

    def _match_patterns(self, routing_key: str, found: list[Destination]) -> None:
        words = _split(routing_key)
        self._matches += 1
        _follow(self._root, words, 0, self._matches, found)

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
        pattern = _split(binding.routing_key)
        if not _has_wildcard(pattern):
            targets = self._literal.get(binding.routing_key)
            if targets is None:
                targets = {}
                self._literal[binding.routing_key] = targets
            add_target(targets, binding.destination)
            return
        node = self._root
        for word in _simplify(pattern):
            follower = node.child(word)
            node = node.make_child(word) if follower is None else follower
        add_target(node.targets, binding.destination)

    def _remove(self, binding: Binding) -> None:
        self._clear_cache()
        pattern = _split(binding.routing_key)
        if not _has_wildcard(pattern):
            targets = self._literal[binding.routing_key]
            remove_target(targets, binding.destination)
            if not targets:
                del self._literal[binding.routing_key]
            return
        words = _simplify(pattern)
        path = [self._root]
        for word in words:
            follower = path[-1].child(word)
            if follower is None:
                raise KeyError(binding.routing_key)
            path.append(follower)
        remove_target(path[-1].targets, binding.destination)
        while words and path.pop().is_empty():
            path[-1].remove_child(words.pop())


def _follow(
    node: _Node, words: list[str], position: int, match: int, found: list[Destination]
) -> None:
    """Add the destinations of the patterns from this node on, for the words from a position on."""
    while True:
        if node.hash is not None:
            _repeat(node.hash, words, position, match, found)
        if position == len(words):
            if node.targets:
                found.extend(node.targets)
            return
        literal = node.words.get(words[position])
        star = node.star
        position += 1
        if literal is None:
            if star is None:
                return
            node = star
        else:
            if star is not None:
                _follow(star, words, position, match, found)
            node = literal


def _repeat(
    node: _Node, words: list[str], position: int, match: int, found: list[Destination]
) -> None:
    """Match a `#` with no word, with one, and so on up to all that remain.

    Words are tried in ascending order everywhere, so a `#` is reached at its earliest word first,
    and everything that can be found from a later word has been found by then.
    """
    if node.match == match:
        return
    node.match = match
    if node.targets:
        found.extend(node.targets)
    if node.words or node.star is not None:
        for start in range(position, len(words)):
            literal = node.words.get(words[start])
            if literal is not None:
                _follow(literal, words, start + 1, match, found)
            if node.star is not None:
                _follow(node.star, words, start + 1, match, found)


def _split(key: str) -> list[str]:
    return key.split(".") if key else []


def _has_wildcard(pattern: list[str]) -> bool:
    return "*" in pattern or "#" in pattern


def _simplify(pattern: list[str]) -> list[str]:
    """Reduce several `#` in a row to one, which stands for the same words.

    A `#` of the trie so never has another for its child.
    """
    words: list[str] = []
    for word in pattern:
        if word != "#" or not words or words[-1] != "#":
            words.append(word)
    return words
