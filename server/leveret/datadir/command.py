"""`leveret log`: check, dump and stats of a data directory, or of a store in a database, offline.

Exit codes: 0 done, or sound; 1 damaged; 2 it is in use, cannot be read, or was written by a newer
version. dump and stats report damage on stderr, and go on without what is damaged.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import click

from leveret_storage.format.record_reader import Damage
from leveret_storage.medium import Medium

EXIT_DAMAGED: Final = 1
EXIT_CANNOT_READ: Final = 2

Command = TypeVar("Command", bound=Callable[..., Any])


@click.group("log")
def log_group() -> None:
    """Read and copy the data of a stopped broker.

    DIR is a data directory, or a store in a database: postgresql://USER@HOST/DATABASE?store=N
    """


def _directory(command: Command) -> Command:
    """Add the parameters that every command has."""
    argument = click.argument("location", metavar="DIR")
    option = click.option(
        "--read-only",
        is_flag=True,
        help="Write and lock nothing: read a directory in use as it is at this instant.",
    )
    return argument(option(command))


@contextmanager
def _opened(location: str, read_only: bool) -> Iterator[Medium]:
    from leveret.datadir.read import open_location
    from leveret_storage.errors import DirectoryLocked, StorageError

    try:
        medium = open_location(location, read_only)
        try:
            yield medium
        finally:
            medium.close()
    except DirectoryLocked as error:
        _cannot_read(f"{error}; with --read-only it is read as it is at this instant")
    except StorageError as error:
        _cannot_read(str(error))


def _cannot_read(reason: str) -> None:
    click.echo(f"leveret: {reason}", err=True)
    raise SystemExit(EXIT_CANNOT_READ)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _segments(of: dict[str, Any]) -> str:
    return f"{_counted(of['segments'], 'segment')}, {_counted(of['bytes'], 'byte')}"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")


class _Problems:
    """Reports problems on stderr, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def damaged(self, damage: Damage) -> None:
        self.report(
            f"{damage.blob}: damaged from offset {damage.offset} to {damage.end}: {damage.why}"
        )

    def report(self, problem: object) -> None:
        self.count += 1
        click.echo(f"leveret: {problem}", err=True)

    def exit_if_any(self) -> None:
        if self.count:
            raise SystemExit(EXIT_DAMAGED)


@log_group.command()
@_directory
def check(location: str, read_only: bool) -> None:
    """Read every byte. Exit with 0 if all is sound, with 1 if something is damaged.

    One line for each problem, and for each torn end, which is not damage.

    Example: leveret log check ./data
    """
    from leveret.datadir import read

    with _opened(location, read_only) as medium:
        findings = read.check(medium, location)
        for line in findings.torn:
            click.echo(f"torn: {line}")
        for line in findings.problems:
            click.echo(f"damaged: {line}")
        blobs = findings.inspection.blobs
        size = sum(blob.size for blob in blobs)
        verdict = "damaged" if findings.problems else "sound"
        click.echo(
            f"{verdict}: {_counted(len(blobs), 'file')}, {_counted(size, 'byte')},"
            f" {_counted(len(findings.problems), 'problem')}"
        )
        if findings.problems:
            raise SystemExit(EXIT_DAMAGED)


@log_group.command()
@_directory
@click.option("--definitions", is_flag=True, help="Only exchanges, queues and bindings.")
@click.option("--queue", metavar="NAME", help="Only the messages of this queue.")
@click.option("--vhost", metavar="NAME", help="Only this virtual host.")
@click.option("--limit", metavar="N", type=click.IntRange(0), help="At most so many lines.")
@click.option("--filter", "text", metavar="TEXT", help="Only lines with this text in a value.")
def dump(
    location: str,
    read_only: bool,
    definitions: bool,
    queue: str | None,
    vhost: str | None,
    limit: int | None,
    text: str | None,
) -> None:
    """Write definitions and messages as JSON, one a line.

    Example: leveret log dump ./data --queue orders
    """
    from leveret.datadir import read

    problems = _Problems()
    with _opened(location, read_only) as medium:
        contents = read.read_contents(medium, problems.damaged)
        if vhost is not None and vhost not in contents.definitions.vhosts:
            _cannot_read(f"no virtual host {vhost!r} in {location}")
        known = any(queue == each and vhost in (None, name) for name, each, _ in contents.named())
        if queue is not None and not known:
            _cannot_read(f"no queue {queue!r} in {location}")
        items = read.dump(
            contents, definitions=definitions, queue=queue, vhost=vhost, unread=problems.report
        )
        # click.echo would flush every line. JSON is UTF-8 in any locale.
        out = sys.stdout.buffer
        written = 0
        for item in items:
            if text is not None and not read.contains(item, text):
                continue
            if written == limit:
                break
            written += 1
            out.write(_json(item) + b"\n")
        out.flush()
    problems.exit_if_any()


@log_group.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="As one line of JSON.")
def stats(location: str, read_only: bool, as_json: bool) -> None:
    """Show sizes, segments, and queues with their messages.

    Example: leveret log stats ./data
    """
    from leveret.datadir import read

    problems = _Problems()
    with _opened(location, read_only) as medium:
        found = read.stats(read.read_contents(medium, problems.damaged))
    if as_json:
        click.echo(_json(found))
        problems.exit_if_any()
        return
    log, runs = found["log"], found["queue_segments"]
    click.echo(f"{_counted(found['bytes'], 'byte')} in all, epoch {found['epoch']}")
    click.echo(f"log: {_segments(log)}, the oldest is {log['oldest']}")
    click.echo(f"queues: {_segments(runs)}")
    for queue in found["queues"]:
        oldest = f", the oldest is {queue['oldest_segment']}" if queue["segments"] else ""
        click.echo(
            f"  {queue['name']!r} in {queue['vhost']!r}: {_counted(queue['messages'], 'message')}, "
            f"{queue['settled']} settled, {_counted(queue['segments'], 'segment')} of "
            f"{_counted(queue['segment_bytes'], 'byte')}{oldest}"
        )
    for line in found["torn"]:
        click.echo(f"torn: {line}")
    problems.exit_if_any()
