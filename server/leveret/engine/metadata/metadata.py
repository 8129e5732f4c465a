"""The metadata: a versioned sequence of changes, and the state that they lead to.

One small interface for everything that belongs to the whole broker. Whoever needs a form of it that
is quicker to use (compiled permissions, effective policies) subscribes, and has nothing that it
could not make again from here. Changes are records of the log; replies that promise one wait for
the batch as for any definition (`persistence/definition_log.py`).

Deliberately elsewhere: what a change is allowed to be (`access/`, `lifecycle/`), and who asked for
it (the audit log of the interfaces).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar, cast

from leveret.engine.metadata.entities import ENTITY_KINDS, Entity, EntityDeleted, Key, kind_of

E = TypeVar("E", bound=Entity)

Record = Entity | EntityDeleted
"""What the log has of a change."""


class Change(NamedTuple):
    """One change: an entity was put, or deleted."""

    version: int
    kind: type[Entity]
    key: Key
    before: Entity | None
    """None if there was none of that key."""
    after: Entity | None
    """None if it was deleted."""


class Metadata:
    """All entities of the broker. Not for other threads."""

    def __init__(self) -> None:
        self.version = 0
        """The number of the last change."""
        self.stores = 0
        """Of the cluster whose metadata these are; 0 without one."""
        self.refusal: Callable[[], str] = _none
        """Why operators cannot change anything at the moment; empty if they can."""
        self._entities: dict[type[Entity], dict[Key, Entity]] = {
            kind: {} for kind in ENTITY_KINDS.values()
        }
        self._subscribers: list[Callable[[Change], None]] = []
        self._write: Callable[[Record], None] | None = None

    def persist(self, write: Callable[[Record], None]) -> None:
        """Have `write` called with the record of each change from now on."""
        self._write = write

    def subscribe(self, changed: Callable[[Change], None]) -> None:
        """Have `changed` called after each change, in the order of subscription.

        It must not make further changes.
        """
        self._subscribers.append(changed)

    # --- reading ------------------------------------------------------------------------------

    def get(self, kind: type[E], *key: str) -> E | None:
        """The entity of a key, or None."""
        return cast("E | None", self._entities[kind].get(key))

    def all(self, kind: type[E]) -> Mapping[Key, E]:
        """All entities of a kind by their keys."""
        return cast("Mapping[Key, E]", self._entities[kind])

    def records(self) -> Iterator[Record]:
        """Records that restore all entities, for a checkpoint.

        Entities may change while they are iterated over, if the record of each change is put
        between those that came before and those that follow.
        """
        for entities in self._entities.values():
            for key in list(entities):
                entity = entities.get(key)
                if entity is not None:
                    yield entity

    # --- changing -----------------------------------------------------------------------------

    def put(self, entity: Entity) -> None:
        """Add an entity, or replace that of the same key. One that is the same changes nothing."""
        if self._entities[type(entity)].get(entity.key) == entity:
            return
        self._write_record(entity)
        self._change(type(entity), entity.key, entity)

    def delete(self, kind: type[Entity], *key: str) -> bool:
        """Delete the entity of a key.

        :returns: whether there was one.
        """
        if key not in self._entities[kind]:
            return False
        self._write_record(EntityDeleted(kind_of(kind), key))
        self._change(kind, key, None)
        return True

    def restore(self, record: Record) -> None:
        """Apply a record that the log has. Subscribers are not called: they look at everything
        when all is restored."""
        if isinstance(record, EntityDeleted):
            kind = ENTITY_KINDS.get(record.entity)
            if kind is not None:
                self._entities[kind].pop(record.key, None)
        else:
            self._entities[type(record)][record.key] = record
        self.version += 1

    def apply(self, record: Record) -> None:
        """Change what another broker of the cluster has changed: subscribers are called, and
        nothing is written. What is so already changes nothing.
        """
        if isinstance(record, EntityDeleted):
            kind = ENTITY_KINDS.get(record.entity)
            if kind is not None and record.key in self._entities[kind]:
                self._change(kind, record.key, None)
        elif self._entities[type(record)].get(record.key) != record:
            self._change(type(record), record.key, record)

    def copy(self) -> "Metadata":
        """The same entities, whose changes are nobody's business."""
        copied = Metadata()
        copied.stores = self.stores
        copied._entities = {kind: dict(entities) for kind, entities in self._entities.items()}
        return copied

    def adopt(self, restored: "Metadata") -> bool:
        """Have what was restored instead of everything there is, if anything was restored.

        :returns: whether anything was.
        """
        if restored.version:
            self._entities = restored._entities
            self.version = restored.version
        return restored.version != 0

    def _write_record(self, record: Record) -> None:
        if self._write is not None:
            self._write(record)

    def _change(self, kind: type[Entity], key: Key, after: Entity | None) -> None:
        entities = self._entities[kind]
        before = entities.pop(key, None) if after is None else entities.get(key)
        if after is not None:
            entities[key] = after
        self.version += 1
        change = Change(self.version, kind, key, before, after)
        for changed in list(self._subscribers):
            changed(change)


def _none() -> str:
    return ""
