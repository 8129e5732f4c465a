"""The topic exchange: routing keys are words between dots, bindings are patterns of words.

In a pattern `*` stands for exactly one word and `#` for any number of them, none included. A word
may be empty ("a..b" has three), but the empty routing key has no word at all.

Patterns without a wildcard are looked up whole. The others are in a trie with one word a step. A
routing key is matched word by word against the set of nodes its words so far may lead to, without
recursion. A node joins the set at most once a word, so a key takes at most its number of words
times the nodes of the trie, whatever patterns a hostile client makes up; and since a node is left
by looking its next word up, only nodes that match so far are seen, not the number of bindings.

What recent routing keys led to is remembered, until a binding comes or goes.
"""

from leveret.engine.exchanges.base import (
    Binding,
    Destination,
    Exchange,
    Targets,
    add_target,
    remove_target,
)
from leveret.engine.table import Table
from leveret.limits import TOPIC_CACHE_SLOTS_MAX


class _Node:
    """A place in the trie: all patterns that begin with the same words.

    `step` is the last step of a match at which a `#` node joined the set. Only those nodes can be
    reached in two ways at one step: from the word before, and by having stayed.
    """

    def __init__(self, repeats: bool) -> None:
        self.repeats = repeats
        self.step = 0
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
        node = _Node(word == "#")
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

    def __init__(
        self, name: str, durable: bool, auto_delete: bool, internal: bool, arguments: Table
    ) -> None:
        super().__init__(name, durable, auto_delete, internal, arguments)
        self.type = "topic"
        self._literal: dict[str, Targets] = {}
        self._root = _Node(False)
        self._step = 0
        self._recent: dict[str, list[Destination]] = {}
        self._recent_slots = 0

    def match(self, routing_key: str, headers: Table | None, into: list[Destination]) -> None:
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
        step = self._step + 1
        reached: list[_Node] = []
        _reach(self._root, step, reached)
        for word in _split(routing_key):
            step += 1
            before = reached
            reached = []
            for node in before:
                if node.repeats and node.step != step:
                    node.step = step
                    reached.append(node)
                follower = node.words.get(word)
                if follower is not None:
                    _reach(follower, step, reached)
                follower = node.star
                if follower is not None:
                    _reach(follower, step, reached)
            if not reached:
                break
        self._step = step
        for node in reached:
            if node.targets:
                found.extend(node.targets)

    def _remember(self, routing_key: str, found: list[Destination]) -> None:
        slots = 1 + len(found)
        if self._recent_slots + slots > TOPIC_CACHE_SLOTS_MAX:
            self._forget()
            if slots > TOPIC_CACHE_SLOTS_MAX:
                return
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


def _reach(node: _Node, step: int, reached: list[_Node]) -> None:
    """Put a node in the set, and the `#` after it, which may stand for no word."""
    reached.append(node)
    after = node.hash
    if after is not None and after.step != step:
        after.step = step
        reached.append(after)


def _split(key: str) -> list[str]:
    return key.split(".") if key else []


def _has_wildcard(pattern: list[str]) -> bool:
    return "*" in pattern or "#" in pattern


def _simplify(pattern: list[str]) -> list[str]:
    """Leave one of several `#` in a row: they stand for the same words. `_reach` relies on it."""
    words: list[str] = []
    for word in pattern:
        if word != "#" or not words or words[-1] != "#":
            words.append(word)
    return words
