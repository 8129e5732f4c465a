"""The connections of one broker to the database, which are cut and slow at times."""

from collections.abc import Callable
from typing import Final

from tests.cluster.simulation.database import Database, Reply
from tests.cluster.simulation.events import Events

FAST_S: Final = 0.002
"""Seconds that a message takes at most, unless the network is slow."""

Statement = Callable[[Reply], None]
Later = Callable[[float, Callable[[], None]], None]


class Network:
    """Carries statements to the primary, and answers back."""

    def __init__(self, events: Events, database: Database) -> None:
        self.is_cut = False
        self.loses_answers = False
        self.delay_max_s = FAST_S
        self._events: Final = events
        self._database: Final = database

    def ask(self, statement: Statement, answered: Reply, lost: Callable[[], None]) -> None:
        """Send a statement. Either its result comes back, or nothing is heard for ever: then `lost`
        is called when the connection breaks, if it does. Whoever asks has a timeout.

        A statement that was sent when the network was cut may arrive late.
        """
        events, database = self._events, self._database
        generation = database.generation
        if not database.is_up:
            events.after(events.between(0.001, 0.1), lost)
            return
        delay = events.between(0.0001, self.delay_max_s)
        if self.is_cut:
            if events.chance(0.6):
                return
            delay += events.between(0.0, 6.0)

        def answer(result: object) -> None:
            if not self.is_cut and not self.loses_answers:
                events.after(events.between(0.0001, self.delay_max_s), lambda: answered(result))

        def arrive() -> None:
            if database.generation == generation and database.is_up:
                statement(answer)
            elif not self.is_cut:
                lost()

        events.after(delay, arrive)
