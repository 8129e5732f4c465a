"""The topic exchange: routing keys are words between dots, bindings are patterns of words.

In a pattern `*` stands for exactly one word and `#` for any number of them, none included. A word
may be empty ("a..b" has three), but the empty routing key has no word at all.

Patterns without a wildcard are looked up whole. The others are in a trie with one word a step, and
a routing key follows, word by word, only what has matched so far: the number of bindings says
nothing about the time. Patterns made up to be slow (`#.*.#.*.#`) are not: what stands behind a `#`
is followed at most once from each word, so a key never takes more steps than it has words, times
the nodes of the trie.

A match recurses at most once for each word of a pattern, so 256 deep: patterns are short strings.

What recent routing keys led to is remembered, until a binding comes or goes.
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
    """A place in the trie: all patterns that begin with the same words.

    `match` is the number of the last match that came to this node, kept where it is a `#`.
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
        self._recent: dict[str, list[Destination]] = {}
        self._recent_slots = 0

    def match(self, routing_key: str, message: Message | None, into: list[Destination]) -> None:
        found = self._recent.get(routing_key)
        if found is None:
            found = []
            targets = self._literal.get(routing_key)
            if targets is not None:
                found.extend(targets)
            if not self._root.is_empty():
                self._match_patterns(routing_key, found)
            self._remember(routing_key, found)
        into.extend(found)

    def _match_patterns(self, routing_key: str, found: list[Destination]) -> None:
        words = _split(routing_key)
        self._matches += 1
        _follow(self._root, words, 0, self._matches, found)

    def _remember(self, routing_key: str, found: list[Destination]) -> None:
        slots = 1 + len(found)
        if self._recent_slots + slots > TOPIC_CACHE_SLOTS_MAX:
            self._forget()
        self._recent[routing_key] = found
        self._recent_slots += slots

    def _forget(self) -> None:
        if self._recent_slots:
            self._recent.clear()
            self._recent_slots = 0

    def _add(self, binding: Binding) -> None:
        self._forget()
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
        self._forget()
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
    """Add what the patterns from this node on lead to, for the words from a position on."""
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
    """Let a `#` stand for no word, for one, and so on for all that are left.

    Words are tried in ascending order everywhere, so a `#` is come to at its earliest word first,
    and what can be found from a later one has been found by then.
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
    """Leave one of several `#` in a row, which stands for the same words as all of them.

    A `#` of the trie so never has another for its child.
    """
    words: list[str] = []
    for word in pattern:
        if word != "#" or not words or words[-1] != "#":
            words.append(word)
    return words
