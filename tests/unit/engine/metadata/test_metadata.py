"""The metadata: a sequence of changes, whose records lead to the same state."""

from hypothesis import given
from hypothesis import strategies as st

from leveret.engine.metadata.entities import (
    ENTITY_KINDS,
    Entity,
    GlobalParameter,
    OperatorPolicy,
    Parameter,
    Permission,
    Policy,
    TopicPermission,
    User,
    VirtualHostEntity,
)
from leveret.engine.metadata.metadata import Change, Metadata, Record
from leveret.engine.persistence.definitions import decode, encode
from leveret_storage.format.entries import StoredDefinition

names = st.sampled_from(["", "a", "b", "é", "\udcff"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
tables = st.dictionaries(st.text(max_size=3), values, max_size=3)
entities: st.SearchStrategy[Entity] = st.one_of(
    st.builds(VirtualHostEntity, names, tags=st.tuples(names)),
    st.builds(User, names, tags=st.tuples(names), limits=st.just({"max-channels": 3})),
    st.builds(Permission, names, names, names, names, names),
    st.builds(TopicPermission, names, names, names, names, names),
    st.builds(Policy, names, names, names, tables, priority=st.integers(-5, 5)),
    st.builds(OperatorPolicy, names, names, names, tables),
    st.builds(Parameter, names, names, names, values),
    st.builds(GlobalParameter, names, values),
)


def stored(record: Record) -> Record:
    """A record that was written to the log and read from it."""
    found = decode(StoredDefinition(encode(record), 2, "log", 0))
    assert isinstance(found, Record)
    return found


def state(metadata: Metadata) -> list[Record]:
    return list(metadata.records())


@given(st.lists(entities), st.data())
def test_the_records_lead_to_the_same_state(puts: list[Entity], data: st.DataObject) -> None:
    metadata, written = Metadata(), list[Record]()
    changes: list[Change] = []
    metadata.persist(written.append)
    metadata.subscribe(changes.append)
    for entity in puts:
        metadata.put(entity)
        if data.draw(st.booleans()):
            other = data.draw(st.sampled_from(puts))
            metadata.delete(type(other), *other.key)
    again, from_checkpoint = Metadata(), Metadata()
    for record in written:
        again.restore(stored(record))
    for record in metadata.records():
        from_checkpoint.restore(stored(record))
    assert state(again) == state(from_checkpoint) == state(metadata)
    assert [change.version for change in changes] == list(range(1, len(written) + 1))


def test_a_change_has_what_was_before() -> None:
    metadata, changes = Metadata(), list[Change]()
    metadata.subscribe(changes.append)
    first, second = User("a", tags=("x",)), User("a", tags=("y",))
    metadata.put(first)
    metadata.put(first)
    metadata.put(second)
    assert metadata.delete(User, "a")
    assert not metadata.delete(User, "a")
    assert changes == [
        Change(1, User, ("a",), None, first),
        Change(2, User, ("a",), first, second),
        Change(3, User, ("a",), second, None),
    ]


def test_every_kind_has_a_key() -> None:
    assert {kind.key for kind in ENTITY_KINDS.values()}.isdisjoint({Entity.key})
