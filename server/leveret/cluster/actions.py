"""What the decisions ask for (`ownership.py`), and the agent carries out (`agent.py`)."""

from typing import NamedTuple, TypeAlias


class Take(NamedTuple):
    """Ask for the lease; answer with `taken` or `not_taken`."""

    store: int


class Open(NamedTuple):
    """Open the store; answer with `opened` or `not_opened`."""

    store: int


class NoteEpoch(NamedTuple):
    """Note the epoch in the lease."""

    store: int
    epoch: int


class HandOver(NamedTuple):
    """Hand the store over; answer with `handed_over` or `not_handed_over`."""

    store: int
    reason: str


class GiveUp(NamedTuple):
    """Confirm nothing more, and close the clients, at once."""

    store: int
    reason: str


class Release(NamedTuple):
    """Give the lease back, for a member if one is named; answer with `released`."""

    store: int
    successor: str


class GiveBack(NamedTuple):
    """Give the lease of a store back that failed here; answer with `released`."""

    store: int
    back_off_s: float
    """Seconds for which this broker does not take it again."""
    reason: str


class Refuse(NamedTuple):
    """Note that nobody may take the store; answer with `refused`."""

    store: int
    reason: str


Action: TypeAlias = Take | Open | NoteEpoch | HandOver | GiveUp | Release | GiveBack | Refuse
