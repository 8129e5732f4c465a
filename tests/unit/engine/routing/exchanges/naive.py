"""What routing means, written down as plainly as it can be said, and inputs to hold it against."""

from hashlib import blake2b
from math import log

from hypothesis import strategies as st
from pamqp.commands import Basic

from leveret.engine.routing.exchanges import Binding, Destination, Exchange, create
from leveret.engine.routing.exchanges.base import ExchangeDeclaration
from leveret.engine.routing.exchanges.hashing import mixed
from leveret.engine.values.field_table import FieldValue, Table
from leveret.engine.values.message import Message
from leveret.protocol.wire.methods import encode_header


def exchange(kind: str, arguments: Table | None = None) -> Exchange:
    return create(
        ExchangeDeclaration(kind, f"an {kind} exchange", True, False, False, arguments or {})
    )


def message(headers: Table | None = None, body: bytes = b"", route: bytes = b"\0\0") -> Message:
    """A message with these headers."""
    return Message(route, encode_header(Basic.Properties(headers=headers), len(body)), body, False)


def matched(source: Exchange, routing_key: str, headers: Table | None = None) -> list[Destination]:
    """Every destination of a match once, in the order in which each was first appended."""
    into: list[Destination] = []
    source.match(routing_key, message(headers), into)
    return list(dict.fromkeys(into))


def bindings_to(destination: Destination) -> list[Binding]:
    """Every binding that leads to a destination, exchange by exchange."""
    by_source: dict[Exchange, list[Binding]] = {}
    for binding in destination.incoming():
        by_source.setdefault(binding.source, []).append(binding)
    return [binding for known in by_source.values() for binding in known]


def drop(destination: Destination) -> list[Binding]:
    """Remove every binding to a destination, and those of an exchange, as its deletion does."""
    dropped: list[Binding] = []
    while (binding := destination.drop_newest_incoming()) is not None:
        dropped.append(binding)
    if isinstance(destination, Exchange):
        while (binding := destination.drop_newest_binding()) is not None:
            dropped.append(binding)
    return dropped


def same(one: FieldValue, other: FieldValue) -> bool:
    """Equality of field values, type for type; `True`, `1` and `1.0` are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def topic_matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    if pattern[0] == "#":
        return topic_matches(pattern[1:], words) or (
            bool(words) and topic_matches(pattern, words[1:])
        )
    if not words:
        return False
    return pattern[0] in ("*", words[0]) and topic_matches(pattern[1:], words[1:])


def satisfies(header: FieldValue, asked: FieldValue) -> bool:
    """Equality of a header and an argument: by value, but inside of arrays and tables."""
    one, other = as_it_arrives(header), asked
    if all(type(each) in (int, float) for each in (one, other)):
        return one == other
    if all(isinstance(each, str | bytes | bytearray) for each in (one, other)):
        return octets(one) == octets(other)
    if all(isinstance(each, list | dict) and not each for each in (one, other)):
        return True
    return same(one, other) and repr(one) == repr(other)


def octets(value: FieldValue) -> bytes:
    """The octets of text or of a byte array."""
    if isinstance(value, str):
        return value.encode()
    assert isinstance(value, bytes | bytearray)
    return bytes(value)


def as_it_arrives(value: FieldValue) -> FieldValue:
    """A value as it reads when it was sent: a long string is text."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [as_it_arrives(item) for item in value]
    if isinstance(value, dict):
        return {name: as_it_arrives(item) for name, item in value.items()}
    return value


def headers_match(arguments: Table, headers: Table) -> bool:
    kind = arguments.get("x-match", "all")
    holds = [
        name in headers and (value is None or satisfies(headers[name], value))
        for name, value in arguments.items()
        if name != "x-match" and (kind in ("all-with-x", "any-with-x") or name[:2] != "x-")
    ]
    return any(holds) if kind in ("any", "any-with-x") else all(holds)


def matches(kind: str, key: str, arguments: Table, routing_key: str, headers: Table | None) -> bool:
    """Whether a binding with this key and these arguments takes the message."""
    if kind == "direct":
        return key == routing_key
    if kind == "topic":
        return topic_matches(words_of(key), words_of(routing_key))
    if kind == "headers":
        return headers_match(arguments, headers or {})
    # A message without a deduplication key is always passed on.
    return kind in ("fanout", "x-message-deduplication")


def rendezvous(weights: dict[str, int], hashed: int) -> str | None:
    """The label, of labels with weights, that draws the best number for a hash."""

    def cost(label: str) -> float:
        number = int.from_bytes(blake2b(label.encode(), digest_size=8).digest(), "big")
        drawn = mixed(int(mixed(hashed ^ number >> 32)) ^ number & 0xFFFFFFFF)
        return -log((int(drawn) + 0.5) / 2**32) / weights[label]

    return min(weights, key=cost, default=None)


def words_of(key: str) -> list[str]:
    """The words of a key: an empty word is one too, but an empty key has none."""
    return key.split(".") if key else []


words = st.sampled_from(["a", "b", "c", ""])
routing_keys = st.lists(words | st.sampled_from(["*", "#"]), max_size=6).map(".".join)
patterns = st.lists(words | st.sampled_from(["*", "#", "#"]), max_size=6).map(".".join)

scalars: st.SearchStrategy[FieldValue] = st.sampled_from(
    [None, True, False, 0, 1, 1.0, "1", "a", b"1", bytearray(b"1"), 2**40]
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=4,
)
tables: st.SearchStrategy[Table] = st.dictionaries(
    st.sampled_from(["a", "b", "c", "x-a", "x-b"]), scalars | values, max_size=4
)
binding_arguments: st.SearchStrategy[Table] = st.builds(
    lambda kind, table: {**kind, **table},
    st.sampled_from(
        [{}, *({"x-match": kind} for kind in ("all", "any", "all-with-x", "any-with-x"))]
    ),
    tables,
)
