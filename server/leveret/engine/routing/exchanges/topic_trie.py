"""The trie of a topic exchange: its patterns word by word, and the match of a routing key.

Each node stands for all patterns that begin with the same words. Where only one pattern goes on,
the node keeps the rest of it (`rest`) instead of one node a word, so a trie has at most about as
many nodes as patterns, and a few more.

A match takes the words of a key from left to right, with the set of nodes that the words so far
have reached: a node is in it once, however many ways lead there. A `#` that was reached stays in
the set until the last word. So the steps of a match are at most the words of the key times the
nodes, and for each rest of a pattern the words of the key times those of the rest, whatever the
patterns are. A match can be interrupted after each step (`TrieMatch.run`); between two of its
slices patterns may come and go.
"""

from typing import Final

from mypy_extensions import i64

from leveret.engine.routing.exchanges.base import Destination
from leveret.engine.routing.exchanges.targets import (
    Targets,
    append_targets,
    with_target,
    without_target,
)
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work

_NOTHING: Final[list[str]] = []
"""The rest of a node that has none; never changed."""


class _Node:
    """All patterns that begin with the words that lead here.

    A node with a `rest` has no children: its targets are those of the one pattern that goes on with
    these words. Other targets are those of the pattern that ends here. A node that once had
    children never gets a rest again, because a match that is interrupted may hold it.
    """

    def __init__(self) -> None:
        self.match: i64 = 0
        """The number of the last match that has nothing more to find here: below a `#`, or in a
        rest with a `#`."""
        self.rest = _NOTHING
        self.targets: Targets | None = None
        self.words: dict[str, _Node] | None = None
        """The children for words that are no wildcards."""
        self.star: _Node | None = None
        self.hash: _Node | None = None

    def child(self, word: str) -> "_Node | None":
        if word == "*":
            return self.star
        if word == "#":
            return self.hash
        return None if self.words is None else self.words.get(word)

    def make_child(self, word: str) -> "_Node":
        node = _Node()
        if word == "*":
            self.star = node
        elif word == "#":
            self.hash = node
        elif self.words is None:
            self.words = {word: node}
        else:
            self.words[word] = node
        return node

    def remove_child(self, word: str) -> None:
        if word == "*":
            self.star = None
        elif word == "#":
            self.hash = None
        elif self.words is not None:
            del self.words[word]
            if not self.words:
                self.words = None

    def is_empty(self) -> bool:
        return (
            self.targets is None and self.star is None and self.hash is None and self.words is None
        )


class PatternTrie:
    """The patterns of one exchange. In a pattern no `#` follows another."""

    def __init__(self) -> None:
        self._root = _Node()
        self._matches: i64 = 0

    def is_empty(self) -> bool:
        """Whether there is no pattern."""
        return self._root.is_empty()

    def add(self, pattern: list[str], destination: Destination) -> None:
        """Count one more binding of a pattern to a destination."""
        node = self._root
        depth = 0
        while True:
            if node.rest and node.rest != pattern[depth:]:
                follower = node.make_child(node.rest[0])
                follower.rest = node.rest[1:]
                follower.targets = node.targets
                node.rest = _NOTHING
                node.targets = None
            if node.rest or depth == len(pattern):
                node.targets = with_target(node.targets, destination)
                return
            word = pattern[depth]
            depth += 1
            known = node.child(word)
            if known is None:
                made = node.make_child(word)
                made.rest = pattern[depth:]
                made.targets = with_target(None, destination)
                return
            node = known

    def remove(self, pattern: list[str], destination: Destination) -> None:
        """Count one binding of a pattern to a destination less.

        :raises KeyError: if there is none.
        """
        node = self._root
        path: list[_Node] = []
        while not node.rest and len(path) < len(pattern):
            follower = node.child(pattern[len(path)])
            if follower is None:
                raise KeyError(destination.name)
            path.append(node)
            node = follower
        if node.rest != pattern[len(path) :]:
            raise KeyError(destination.name)
        node.targets = without_target(node.targets, destination)
        while path and node.is_empty():
            node = path.pop()
            node.remove_child(pattern[len(path)])

    def begin_match(self, words: list[str], found: list[Destination]) -> "TrieMatch":
        """Begin to match the words of a key; `found` gets the destinations. One may be appended
        more than once."""
        self._matches += 1
        return TrieMatch(self._root, self._matches, words, found)


class TrieMatch(Work):
    """A match of one routing key, under way."""

    def __init__(
        self, root: _Node, number: i64, words: list[str], found: list[Destination]
    ) -> None:
        self.steps: i64 = 0
        """Nodes from which words were followed so far, counted again for each word."""
        self._number = number
        self._words = words
        self._found = found
        self._count: i64 = len(words)
        self._position: i64 = 0
        """The number of words that have been taken."""
        self._reached: list[_Node] = []
        """The nodes that lead on, and that exactly these words have reached."""
        self._next: list[_Node] = []
        """Those that one more word reaches, as far as they are found."""
        self._repeating: list[_Node] = []
        """The `#` nodes that were reached: every number of words more reaches them, too."""
        self._repeating_before: i64 = 0
        """Those that were reached before the current word."""
        self._at: i64 = 0
        """The next node to visit for the current word: of `_repeating`, then of `_reached`."""
        self._reach(root, 0)
        self._reached, self._next = self._next, self._reached
        self._repeating_before = len(self._repeating)

    def run(self, time_slice: TimeSlice) -> bool:
        while self._position < self._count:
            if self._repeating_before == 0 and not self._reached:
                return True
            if not self._take_word(self._words[self._position], time_slice):
                return False
            self._position += 1
            self._reached, self._next = self._next, self._reached
            self._next.clear()
            self._repeating_before = len(self._repeating)
            self._at = 0
        return True

    def _take_word(self, word: str, time_slice: TimeSlice) -> bool:
        """Follow a word from all nodes that are reached.

        :returns: False if the slice is over before the last node.
        """
        position = self._position + 1
        repeating, reached = self._repeating, self._reached
        first_reached = self._repeating_before
        total = first_reached + len(reached)
        start = self._at
        at = start
        while at < total:
            node = repeating[at] if at < first_reached else reached[at - first_reached]
            at += 1
            followers = node.words
            if followers is not None:
                literal = followers.get(word)
                if literal is not None:
                    self._reach(literal, position)
            star = node.star
            if star is not None:
                self._reach(star, position)
            if time_slice.is_over() and at < total:
                break
        self.steps += at - start
        self._at = at
        return at == total

    def _reach(self, node: _Node, position: i64) -> None:
        """Note that a number of words reaches a node."""
        if node.match == self._number:
            return
        if node.rest:
            self._try_rest(node, position, node.rest)
            return
        repeated = node.hash
        if repeated is not None and repeated.match != self._number:
            self._reach_hash(repeated, position)
        if position == self._count:
            append_targets(node.targets, self._found)
        elif node.star is not None or node.words is not None:
            self._next.append(node)

    def _reach_hash(self, node: _Node, position: i64) -> None:
        """Note the first number of words that reaches a `#`; every later one does, too."""
        node.match = self._number
        if node.rest:
            if _matches_an_end(self._words, position, node.rest, 0):
                append_targets(node.targets, self._found)
            return
        append_targets(node.targets, self._found)
        if node.star is not None or node.words is not None:
            self._repeating.append(node)

    def _try_rest(self, node: _Node, position: i64, rest: list[str]) -> None:
        """Match the rest of a pattern with the words from a position on."""
        words = self._words
        remaining = self._count - position
        length: i64 = len(rest)
        at: i64 = 0
        while at < length:
            word = rest[at]
            if word == "#":
                # If what follows the `#` does not match from here on, then from no later word.
                node.match = self._number
                if _matches_an_end(words, position + at, rest, at + 1):
                    append_targets(node.targets, self._found)
                return
            if at == remaining or not (word == "*" or word == words[position + at]):
                return
            at += 1
        if length == remaining:
            append_targets(node.targets, self._found)


def _matches_an_end(words: list[str], start: i64, rest: list[str], first: i64) -> bool:
    """Whether the rest of a pattern, from its word `first` on, matches the words from any position
    on that is not before `start`.

    Each stretch between two `#` of the rest is taken where it matches first, and the last one at
    the end of the words.
    """
    count: i64 = len(words)
    length: i64 = len(rest)
    at = start
    begun = start
    """Where the current stretch is tried."""
    stretch = first
    """Where the current stretch begins in the rest."""
    index = first
    while at < count or index < length:
        word = rest[index] if index < length else ""
        if word == "#":
            index += 1
            stretch = index
            begun = at
        elif at == count:
            return False
        elif index < length and (word == "*" or word == words[at]):
            index += 1
            at += 1
        else:
            begun += 1
            at = begun
            index = stretch
    return True


def split(key: str) -> list[str]:
    """The words of a key: an empty word is one, too, but the empty key has none."""
    return key.split(".") if key else []


def simplify(pattern: list[str]) -> list[str]:
    """Reduce several `#` in a row to one, which stands for the same words."""
    words: list[str] = []
    for word in pattern:
        if word != "#" or not words or words[-1] != "#":
            words.append(word)
    return words
