"""A replay beside its recording: every mismatch, as one line."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.parity.http.play import Entry
from tests.parity.http.shape import mismatches


@dataclass(frozen=True)
class Mismatch:
    """What differs in the answer to one request."""

    request: str
    """Method and path, with the body that was sent, if one was."""
    where: str
    """`status`, `header` and its name, `error`, `reason`, or the path of a key in the body."""
    what: str

    def __str__(self) -> str:
        return f"{self.request}: {self.where}: {self.what}"


def compared(theirs: list[Entry], ours: list[Entry]) -> Iterator[Mismatch]:
    """Every mismatch between what RabbitMQ and Leveret have answered."""
    if [_request(each) for each in theirs] != [_request(each) for each in ours]:
        raise ValueError("the section sends other requests than it did when it was recorded")
    for recorded, answered in zip(theirs, ours, strict=True):
        request = _request(recorded)
        for where, what in _differences(recorded, answered):
            yield Mismatch(request, where, what)


def _request(entry: Entry) -> str:
    user = f" by {entry['user'] or 'nobody'}" if "user" in entry else ""
    sent = f" {entry['sent']}" if "sent" in entry else ""
    return f"{entry['request']}{user}{sent}"


def _differences(theirs: Entry, ours: Entry) -> Iterator[tuple[str, Any]]:
    if theirs["status"] != ours["status"]:
        answer = ours.get("body", "")
        yield "status", f"{ours['status']} for {theirs['status']} {answer}"
        return
    for name in {**theirs.get("headers", {}), **ours.get("headers", {})}:
        before, after = (each.get("headers", {}).get(name) for each in (theirs, ours))
        if before != after:
            yield f"header {name}", f"{after} for {before}"
    if "shape" in theirs:
        yield from mismatches(theirs["shape"], ours.get("shape"))
    for name in ("error", "reason"):
        before, after = (_said(each, name) for each in (theirs, ours))
        if before is not None and before != after:
            yield name, f"{after!r} for {before!r}"


def _said(entry: Entry, name: str) -> Any:
    body = entry.get("body")
    return body.get(name) if isinstance(body, dict) else None
