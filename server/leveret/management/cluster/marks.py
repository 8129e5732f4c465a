"""What requests between brokers carry in their headers: who asked, and what the answer is to be.

They come over a listener at which only brokers of the cluster get through (`net/`), so what they
say is taken as it is; what the user may do is checked again by who is asked.
"""

import json
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec
from starlette.requests import Request

from leveret.engine.metadata.entities import User
from leveret.engine.metadata.metadata import Metadata
from leveret.management.authorisation import Identity, NotAuthorised, with_included

ASKED_BY: Final = "x-leveret-asked-by"
METADATA_VERSION: Final = "x-leveret-metadata-version"
ROWS: Final = "x-leveret-rows"
KEYS_ONLY: Final = "x-leveret-keys-only"

MISDIRECTED: Final = 421
"""The status of a request for a virtual host that the broker does not serve (RFC 9110, 15.5.20):
nothing was done."""

DIGITS_MAX: Final = 18


class _AskedBy(msgspec.Struct):
    """Who asked, as a header has it."""

    name: str
    origin: str = ""
    is_owner: bool = False


class Range(NamedTuple):
    """Which rows of a list are asked for, in its order."""

    first: int
    last: int | None
    """The first one that is not asked for; None for all."""


def marks_of(identity: Identity | None, version: int) -> dict[str, str]:
    """The headers that every request to another broker has.

    :param identity: of who asked.
    :param version: of the metadata that the other one has to have before it answers.
    """
    who = identity or Identity("", "")
    asked_by = {"name": who.name, "origin": who.origin, "is_owner": who.is_owner}
    # ASCII: a header has no other characters, and a name may.
    return {ASKED_BY: json.dumps(asked_by), METADATA_VERSION: str(version)}


def identity_in(request: Request, metadata: Metadata) -> Identity:
    """Who asked the broker that this request is from, with the tags of the user here.

    :raises NotAuthorised: if it does not say.
    """
    try:
        who = msgspec.json.decode(request.headers.get(ASKED_BY, ""), type=_AskedBy)
    except msgspec.MsgspecError:
        raise NotAuthorised("a request between brokers says who asked") from None
    user = metadata.get(User, who.name)
    tags = with_included(() if user is None else tuple(user.tags))
    return Identity(who.name, who.origin, tags, who.is_owner)


def version_in(request: Request) -> int:
    """The version of the metadata that is needed for the answer."""
    return _number(request.headers.get(METADATA_VERSION, "")) or 0


def marks_of_rows(rows: Range, *, keys_only: bool) -> dict[str, str]:
    """The headers that ask for rows of a list with their keys."""
    last = "" if rows.last is None else rows.last
    return {ROWS: f"{rows.first}-{last}", **({KEYS_ONLY: "true"} if keys_only else {})}


def rows_in(request: Request) -> Range | None:
    """Which rows with their keys are asked for; None if the answer is the list itself."""
    first, dash, last = request.headers.get(ROWS, "").partition("-")
    return Range(_number(first) or 0, _number(last)) if dash else None


def target_of(request: Request, *, whole: bool = False) -> str:
    """Path and query of a request, quoted as they came.

    :param whole: without `columns`: what is made of several answers needs more than is shown.
    """
    path: str = quote(request.scope["path"], safe="/%~:@!$&'()*+,;=-._")
    query = request.scope["query_string"].decode("latin-1")
    if whole:
        query = "&".join(each for each in query.split("&") if not each.startswith("columns="))
    return f"{path}?{query}" if query else path


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else None
