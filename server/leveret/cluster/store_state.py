"""What a broker does with a store: its state, and which one may follow which."""

from enum import StrEnum
from typing import Final

from leveret_storage.errors import StorageError


class State(StrEnum):
    """What this broker does with a store."""

    ELSEWHERE = "elsewhere"
    """Nothing: another member has it, or nobody."""
    TAKING = "taking"
    """Its lease is asked for."""
    OPENING = "opening"
    """The lease is ours, and the store is recovered."""
    OWNED = "owned"
    """It is served."""
    HANDING_OVER = "handing over"
    """What was confirmed is made durable, and its clients are closed; the lease is still ours."""
    GIVING_UP = "giving up"
    """It was given up while it was opened or handed over, which has not ended yet."""
    RELEASING = "releasing"
    """The lease is given back."""
    REFUSING = "refusing"
    """Nobody is to take it: that is being noted."""


_TRANSITIONS: Final[dict[State, tuple[State, ...]]] = {
    State.ELSEWHERE: (State.TAKING, State.RELEASING),
    State.TAKING: (State.OPENING, State.ELSEWHERE),
    State.OPENING: (State.OWNED, State.GIVING_UP, State.RELEASING, State.REFUSING),
    State.OWNED: (State.HANDING_OVER, State.RELEASING, State.REFUSING, State.ELSEWHERE),
    State.HANDING_OVER: (State.RELEASING, State.REFUSING, State.GIVING_UP),
    State.GIVING_UP: (State.ELSEWHERE, State.RELEASING, State.REFUSING),
    State.RELEASING: (State.ELSEWHERE,),
    State.REFUSING: (State.ELSEWHERE,),
}

WITH_LEASE: Final = (State.OPENING, State.OWNED, State.HANDING_OVER, State.REFUSING)
"""States in which a lease is renewed."""

WITH_DEADLINE: Final = (State.OPENING, State.OWNED, State.HANDING_OVER)
"""States that end when the lease does."""


class StoreRecord:
    """What a broker knows of what it does with one store."""

    def __init__(self, number: int) -> None:
        self.number: Final = number
        self.state = State.ELSEWHERE
        self.changed_at = float("-inf")
        self.deadline = 0.0
        """When the lease has to be given up."""
        self.epoch = 0
        self.reason = ""
        """Why it was given up or refused last."""
        self.error: StorageError | None = None
        """With which it failed while it was handed over."""
        self.successor = ""
        self.is_received = False
        self.free_since: float | None = None
        self.failures = 0
        self.not_before = float("-inf")
        """When it may be taken again."""

    def change(self, state: State, now: float) -> None:
        """The only place where a state changes."""
        if state not in _TRANSITIONS[self.state]:
            raise AssertionError(f"store {self.number}: from {self.state} to {state}")
        self.state = state
        self.changed_at = now
