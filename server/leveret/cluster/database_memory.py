"""What a broker has seen of its database last, so that it notices one that is older.

A database that was restored from a backup, or of which a stale standby was promoted while no broker
ran, lacks what was confirmed since. It looks like any other, so each broker remembers how far it
was: in a file in `storage.local_dir`, which is replaced as a whole, and rarely: when a store was
taken, and when the definitions have changed. Who is behind that is refused until an operator
removes the file.

`save`, `save_if_possible` and the constructor wait for the disk, and are for other threads than the
event loop's. The other calls may be made by any thread.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec

from leveret.logging import get_logger
from leveret_storage.errors import DataLost, MediumFailed, ReadFailed
from leveret_storage.recovery.log_end import NOT_NOTED, LogEnd

FILE_NAME: Final = "database.json"

logger = get_logger()


class _Seen(msgspec.Struct, frozen=True):
    """What was seen."""

    system: str = ""
    """The identifier of the database system; empty before the first time."""
    schema: str = ""
    timeline: int = 0
    definitions: int = 0
    """Version of the definitions that the brokers share."""
    epochs: dict[int, int] = {}
    """The highest epoch of each store."""
    log_ends: dict[int, tuple[int, int]] = {}
    """Of each store that this broker has served, the last segment of its log of which something was
    durable when it was given back, and how many bytes."""


class DatabaseMemory:
    """The memory of one broker."""

    def __init__(self, local_dir: Path) -> None:
        """Read what was seen; nothing if there is no file.

        :raises ReadFailed: if it cannot be read, or understood.
        """
        self.path: Final = local_dir / FILE_NAME
        self._changing: Final = Lock()
        self._saving: Final = Lock()
        self._seen = self._saved = _read(self.path)

    # --- checking ---------------------------------------------------------------------------

    def check_server(self, system: str, schema: str, timeline: int) -> None:
        """Check that a database is the one that was seen, and no older.

        :param system: the identifier of the database system.
        :raises DataLost: if it is another one, or has an older timeline.
        """
        seen = self._seen
        if not seen.system:
            return
        if (system, schema) != (seen.system, seen.schema):
            raise self._older(
                f"the database is system {system}, schema {schema}, and this broker has seen"
                f" system {seen.system}, schema {seen.schema}"
            )
        if timeline < seen.timeline:
            raise self._older(
                f"the database has timeline {timeline}, and this broker has seen {seen.timeline}"
            )

    def stores(self) -> list[int]:
        """The numbers of the stores that were seen."""
        return sorted(self._seen.epochs)

    def check_store(self, store: int, epoch: int) -> None:
        """Check the epoch in the head of a store, before it is taken.

        :raises DataLost: if it is behind what was seen.
        """
        seen = self._seen.epochs.get(store, 0)
        if epoch < seen:
            raise self._older(
                f"store {store} has epoch {epoch}, and this broker has seen epoch {seen}"
            )

    def check_definitions(self, version: int) -> None:
        """Check the version of the definitions that the brokers share.

        :raises DataLost: if it is behind what was seen.
        """
        if version < self._seen.definitions:
            raise self._older(
                f"the definitions have version {version}, and this broker has seen version"
                f" {self._seen.definitions}"
            )

    def _older(self, what: str) -> DataLost:
        return DataLost(
            f"{what}: an older state was restored, or it is another database; what was confirmed"
            f" since is not in it. To go on with it, stop this broker and remove {self.path}"
        )

    # --- noting -----------------------------------------------------------------------------

    def note_server(self, system: str, schema: str, timeline: int) -> None:
        """Note a database that was checked. `save` has to follow."""
        with self._changing:
            self._seen = msgspec.structs.replace(
                self._seen, system=system, schema=schema, timeline=timeline
            )

    def note_epochs(self, epochs: Mapping[int, int]) -> bool:
        """Note the epochs of stores, by number, of whomever they are.

        :returns: whether any was new, so that `save` has to follow.
        """
        with self._changing:
            known = self._seen.epochs
            newer = {store: each for store, each in epochs.items() if each > known.get(store, 0)}
            if newer:
                self._seen = msgspec.structs.replace(self._seen, epochs={**known, **newer})
            return bool(newer)

    def note_definitions(self, version: int) -> bool:
        """Note the version of the definitions; whether it was new, so that `save` has to follow."""
        with self._changing:
            is_newer = version > self._seen.definitions
            if is_newer:
                self._seen = msgspec.structs.replace(self._seen, definitions=version)
            return is_newer

    def note_log_end(self, store: int, end: LogEnd) -> None:
        """Note how much of a store was durable when it was given back, unless more was noted
        before. `save` has to follow."""
        with self._changing:
            log_ends = {**self._seen.log_ends, store: tuple(max(end, self.log_end(store)))}
            self._seen = msgspec.structs.replace(self._seen, log_ends=log_ends)

    def log_end(self, store: int) -> LogEnd:
        """What was noted of a store."""
        return LogEnd(*self._seen.log_ends.get(store, NOT_NOTED))

    def forget_log_end(self, store: int) -> None:
        """Forget what was noted of a store, which is missing and was told. `save` has to follow."""
        with self._changing:
            log_ends = dict(self._seen.log_ends)
            log_ends.pop(store, None)
            self._seen = msgspec.structs.replace(self._seen, log_ends=log_ends)

    def save(self) -> None:
        """Write what was noted, durably, if it is new. The directory is made if it is missing.

        :raises MediumFailed: if that fails: what was saved last is still there.
        """
        with self._saving:
            seen = self._seen
            if seen is self._saved:
                return
            try:
                _replace(self.path, msgspec.json.format(msgspec.json.encode(seen)) + b"\n")
            except OSError as error:
                raise MediumFailed(f"{self.path}: {error.strerror}") from error
            self._saved = seen

    def save_if_possible(self) -> None:
        """Save, or log why that is not possible: a broker whose local disk is full serves on."""
        try:
            self.save()
        except MediumFailed as error:
            logger.warning("what was seen of the database is not saved", reason=str(error))


def _read(path: Path) -> _Seen:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Seen)
    except FileNotFoundError:
        return _Seen()
    except OSError as error:
        raise ReadFailed(f"{path}: {error.strerror}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReadFailed(
            f"{path}: {error}; remove it if the database is not older than it was"
        ) from error


def _replace(path: Path, data: bytes) -> None:
    """Replace a file, so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
