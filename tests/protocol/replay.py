"""Feeds octets to a new broker, line by line: `python -m tests.protocol.replay [--plain]`.

A line of input is the octets of a session in hexadecimal, in pieces with blanks between; a line of
output is what `replay` returns for it. With `--plain` every module runs from its .py file, whatever
shared objects are beside it, so that one process can be compared with another.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import FileFinder, ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Final

PLAIN: Final = "--plain"


class PlainFinder:
    """Finds the modules of the broker and its storage, but never a shared object."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `importlib.abc.MetaPathFinder`."""
        if name != "leveret" and not name.startswith(("leveret.", "leveret_storage.")):
            return None
        found = PathFinder.find_spec(name, path, target) if path is None else None
        for folder in path or ():
            found = found or FileFinder(folder, (SourceFileLoader, [".py"])).find_spec(name)
        return found


def replay(pieces: list[bytes]) -> str:
    """What the broker answers, in hexadecimal, and how it ended."""
    from tests.protocol.harness import Harness

    harness = Harness()
    client = harness.connect()
    client.decodes = False
    for piece in pieces:
        client.feed_unchecked(piece)
    finished = client.connection.finished
    queues = sorted(
        (name, int(queue.message_count()), int(queue.unacknowledged), len(queue.consumers))
        for name, queue in harness.broker.vhosts["/"].queues.items()
    )
    harness.disconnect_all()
    return f"{b''.join(client.frames).hex()} {finished} {queues}"


def main() -> None:
    """Answer every line of the standard input."""
    if PLAIN in sys.argv:
        sys.meta_path.insert(0, PlainFinder)
    from leveret.compiled import COMPILED

    for line in sys.stdin:
        print(replay([bytes.fromhex(piece) for piece in line.split()]), flush=True)
    shared = [name for name in COMPILED if not _from_source(name)]
    if PLAIN in sys.argv and shared:
        raise SystemExit(f"not from their .py files: {shared}")


def _from_source(name: str) -> bool:
    return str(import_module(name).__file__).endswith(".py")


if __name__ == "__main__":
    main()
