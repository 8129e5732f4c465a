"""Reading a queue to the end, as far as it goes without an event loop."""

from leveret.engine.administration.reader import Found, Reader
from tests.support.executors import StepExecutor


def read(reader: Reader, executor: StepExecutor | None = None) -> list[Found]:
    """All messages that a reader finds; what is on disk is read by the executor."""
    found: list[Found] = []
    while not reader.ended:
        next_one = reader.next()
        if next_one is not None:
            found.append(next_one)
        elif reader.has_to_read():
            reader.read(_ignore)
            if executor is not None:
                executor.run()
    return found


def _ignore() -> None:
    """Nobody waits."""
