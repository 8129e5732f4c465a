"""What becomes of changes when other brokers have changed something first. Pure functions.

A change is made again on top of what the others did. It is dropped where that is what the others
have left of it: the result is that of some order in which all were made one after another.

- What belongs to a virtual host or a user that is gone is dropped.
- A change of a virtual host or a user that is gone does not bring it back.
- The deletion of a virtual host or a user deletes what others have given it meanwhile.
- A virtual host that several have created is the first one's: its store and its uid stay. A
  deletion is of the one that was there.
- What is of a definitions file that another broker has imported is dropped.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from leveret.engine.metadata.entities import (
    ENTITY_KINDS,
    IN_A_VHOST,
    OF_A_USER,
    Entity,
    EntityDeleted,
    ImportedFile,
    User,
    VirtualHostEntity,
    kind_of,
)
from leveret.engine.metadata.metadata import Metadata, Record


class PendingChange(NamedTuple):
    """A change that is not in the log yet."""

    number: int
    """Of the change of an operator, counted up."""
    record: Record
    before: Entity | None
    """What was there when the change was made."""
    digest: str = ""
    """Of the definitions file that it is of; empty for none."""


def resolved(
    agreed: Metadata, pending: Iterable[PendingChange]
) -> tuple[list[PendingChange], list[PendingChange]]:
    """The changes that remain on top of what is agreed, and those that are dropped."""
    state = agreed.copy()
    remaining: list[PendingChange] = []
    dropped: list[PendingChange] = []
    for change in pending:
        records = list(_resolve(state, change))
        if not records:
            dropped.append(change)
        for record in records:
            state.restore(record)
            remaining.append(change._replace(record=record))
    return remaining, dropped


def merged(agreed: Metadata, pending: Iterable[PendingChange]) -> Metadata:
    """What is agreed, with changes on top."""
    state = agreed.copy()
    for change in pending:
        state.restore(change.record)
    return state


def _resolve(state: Metadata, change: PendingChange) -> Iterator[Record]:
    """The records that a change is on top of a state; none if it is dropped."""
    imported = state.get(ImportedFile)
    if change.digest and imported is not None and imported.digest == change.digest:
        return
    record = change.record
    if isinstance(record, EntityDeleted):
        yield from _deletion(state, record, change.before)
    elif isinstance(record, VirtualHostEntity):
        there = state.get(VirtualHostEntity, record.name)
        if there is not None:
            yield msgspec.structs.replace(record, store=there.store, uid=there.uid)
        elif change.before is None:
            yield record
    elif isinstance(record, User):
        if change.before is None or state.get(User, record.name) is not None:
            yield record
    elif _has_what_it_belongs_to(state, record):
        yield record


def _has_what_it_belongs_to(state: Metadata, record: Entity) -> bool:
    if isinstance(record, IN_A_VHOST) and state.get(VirtualHostEntity, record.vhost) is None:
        return False
    return not isinstance(record, OF_A_USER) or state.get(User, record.user) is not None


def _deletion(
    state: Metadata, record: EntityDeleted, before: Entity | None
) -> Iterator[EntityDeleted]:
    kind = ENTITY_KINDS[record.entity]
    there = state.get(kind, *record.key)
    if there is None:
        return
    if isinstance(there, VirtualHostEntity):
        if isinstance(before, VirtualHostEntity) and before.uid != there.uid:
            return
        for each in IN_A_VHOST:
            for entity in state.all(each).values():
                if entity.vhost == there.name:
                    yield EntityDeleted(kind_of(each), entity.key)
    elif isinstance(there, User):
        for of_user in OF_A_USER:
            for right in state.all(of_user).values():
                if right.user == there.name:
                    yield EntityDeleted(kind_of(of_user), right.key)
    yield record
