"""A second try of what the metadata refuse, when they were read once more.

In a cluster a client can be faster than the news of its user, its permissions or its virtual host,
which it has made by way of another broker. So nobody is refused by what is known here alone. A
broker of its own knows everything, and refuses at once.
"""

from collections.abc import Callable

from leveret.engine.metadata.reader import MetadataReader
from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.errors import AmqpError, ReplyCode
from leveret.protocol.channels.session import Session


class SecondTry(Work):
    """Waits until the metadata are read, and tries again."""

    def __init__(
        self, reader: MetadataReader, session: Session, attempt: Callable[[bool], bool]
    ) -> None:
        """:param attempt: as of `try_twice`."""
        self._session = session
        self._attempt = attempt
        self._is_read = False
        reader.request(self._was_read)

    def _was_read(self) -> None:
        self._is_read = True
        self._session.request_flush()

    def waits(self) -> bool:
        return not self._is_read

    def is_told(self) -> bool:
        return True

    def run(self, time_slice: TimeSlice) -> bool:
        if self._is_read:
            self._attempt(True)
        return self._is_read


def try_twice(
    reader: MetadataReader | None, session: Session, attempt: Callable[[bool], bool]
) -> None:
    """Try something, and if the metadata refuse it, try again with newer ones.

    :param reader: None if there are no newer ones.
    :param attempt: is told whether it is the last one, and returns whether the client was answered,
        which it does then. NOT_ALLOWED of the first one is no answer yet.
    :raises AmqpError: what the attempt raises.
    """
    if reader is None:
        attempt(True)
    elif not _is_answered(attempt):
        session.begin(SecondTry(reader, session, attempt))


def _is_answered(attempt: Callable[[bool], bool]) -> bool:
    try:
        return attempt(False)
    except AmqpError as error:
        if error.code != ReplyCode.NOT_ALLOWED:
            raise
        return False
