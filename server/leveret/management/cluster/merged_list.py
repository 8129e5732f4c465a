"""Lists of which each broker has a part: filtered and sorted by each, and merged here.

Every broker answers with its rows in the order that was asked for, a line of JSON each: the key
that it is sorted by (`listing.sort_key`), and what is shown of it. The last line has how many rows
there are, so that an answer that breaks off is noticed. For a page the first rows of each up to its
end are enough; for one far from the beginning the keys are asked for first, and then the rows that
are on it.

A broker that does not answer is left out, and named in the header `LEFT_OUT` and in the warnings of
the overview. If it breaks off when rows of it are sent already, the response is cut (`Cut`).
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leveret.management.cluster.marks import Range, marks_of_rows, target_of
from leveret.management.cluster.peers import PeerFailed, PeerResponse, Peers
from leveret.management.columns import Columns, columns_of_dicts
from leveret.management.http import BadRequest, Cut, failed, identity, management, unless_known
from leveret.management.listing import (
    WHOLE_BYTES_MAX,
    ListedElsewhere,
    Listing,
    PageOutOfRange,
    Query,
    check_page,
    page_of,
    selected,
    sort_key,
)
from leveret.management.service import Management

R = TypeVar("R")

LEFT_OUT: Final = "X-Leveret-Left-Out"
"""The header that names the brokers whose rows are missing."""

ROWS_AT_ONCE_MAX: Final = 1000
"""The end of the last page for which whole rows are asked for at once."""

NOTHING: Final = Range(0, 0)

PIECE_BYTES: Final = 64 * 1024
"""Bytes of rows that are encoded before they are passed on."""

LINE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Bytes of a row."""

_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


class _Row(msgspec.Struct, array_like=True):
    """A row as a line has it."""

    kind: int
    value: Any
    shown: msgspec.Raw


class _Counts(msgspec.Struct):
    """The last line."""

    total: int
    filtered: int


_ROWS: Final = msgspec.json.Decoder(_Row)
_COUNTS: Final = msgspec.json.Decoder(_Counts)


class KeyedListing(Listing[R]):
    """Encodes rows of a range, each with its key, as lines."""

    def __init__(
        self, columns: Columns[R], rows: Iterable[R], asked: Query, wanted: Range, keys_only: bool
    ) -> None:
        self._wanted = wanted
        self._keys_only = keys_only
        self._key = None if asked.sort is None else columns.getter(asked.sort)
        super().__init__(columns, rows, asked)

    @property
    def is_full(self) -> bool:
        return self._bytes >= PIECE_BYTES

    def take(self) -> bytes:
        return b"".join(self._taken())

    def _run(self) -> Iterator[None]:
        yield from self._encode(*self._wanted)

    def _piece(self, row: R) -> bytes:
        kind, value = (0, 0) if self._key is None else sort_key(self._key(row))
        shown = None if self._keys_only else self._columns.shown(row, self._query.wanted)
        return _ENCODER.encode((kind, value, shown)) + b"\n"


async def lines(service: Management, listing: KeyedListing[R]) -> AsyncGenerator[bytes]:
    """The lines of a listing, in pieces, made in slices of the broker's time.

    :raises BadRequest: if a filter cannot be used.
    """
    while not listing.is_done:
        await service.run(listing)
        yield listing.take()
    if listing.failure is not None:
        raise BadRequest(str(listing.failure))
    yield _ENCODER.encode(_Counts(listing.total, listing.filtered)) + b"\n"


class ListedForPeer(ListedElsewhere):
    """Answers another broker with rows of this one, and their keys."""

    def __init__(self, wanted: Range, *, keys_only: bool) -> None:
        self._wanted = wanted
        self._keys_only = keys_only

    async def listed(
        self, request: Request, columns: Columns[Any], rows: Iterable[Any], asked: Query
    ) -> Response:
        listing = KeyedListing(columns, rows, asked, self._wanted, self._keys_only)
        pieces = lines(management(request), listing)
        # What is wrong with a filter is noticed before the response begins, mostly.
        first = await anext(pieces)

        async def body() -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        return StreamingResponse(body(), media_type="application/x-ndjson")


class _Source:
    """The rows of one broker, as they come."""

    def __init__(self, node: str, pieces: AsyncGenerator[bytes]) -> None:
        self.node = node
        self.rows: deque[_Row] = deque()
        self.counts: _Counts | None = None
        """None until the last line has come."""
        self.taken = 0
        """Rows that were taken."""
        self._pieces = pieces
        self._rest = b""

    async def has_row(self) -> bool:
        """Whether there is a further row, which is waited for.

        :raises PeerFailed: if the answer breaks off.
        """
        while not self.rows and self.counts is None:
            piece = await anext(self._pieces, None)
            if piece is None:
                raise PeerFailed(self.node, "the list breaks off")
            try:
                self._add(piece)
            except msgspec.MsgspecError as error:
                raise PeerFailed(self.node, f"no list: {error}") from None
        return bool(self.rows)

    def take(self) -> _Row:
        """The next row."""
        self.taken += 1
        return self.rows.popleft()

    async def close(self) -> None:
        """Take no more."""
        await self._pieces.aclose()

    def _add(self, piece: bytes) -> None:
        *whole, self._rest = (self._rest + piece).split(b"\n")
        for line in whole:
            if line.startswith(b"{"):
                self.counts = _COUNTS.decode(line)
            else:
                self.rows.append(_ROWS.decode(line))
        if len(self._rest) > LINE_BYTES_MAX:
            raise PeerFailed(self.node, f"a row of more than {LINE_BYTES_MAX} bytes")


class MergedList(ListedElsewhere):
    """Answers with the rows of all brokers."""

    def __init__(self, peers: Peers, extra: Callable[[], list[dict[str, Any]]] = list) -> None:
        """:param extra: returns rows that no broker has, of members that are down for example."""
        self._peers = peers
        self._extra = extra
        self.answered: frozenset[str] = frozenset()
        """The other brokers whose rows are there. Those of this one are read only afterwards."""

    async def listed(
        self, request: Request, columns: Columns[Any], rows: Iterable[Any], asked: Query
    ) -> Response:
        merging = _Merging(request, self._peers, columns, asked)
        try:
            if asked.page is None:
                return await self._whole(merging, rows)
            return await self._page(merging, rows)
        except PageOutOfRange as error:
            return failed(400, "page_out_of_range", str(error))

    async def _ask_others(self, merging: "_Merging", wanted: Range) -> None:
        await merging.ask_others(dict.fromkeys(self._peers.nodes(), wanted))
        self.answered = frozenset(each.node for each in merging.sources)

    async def _whole(self, merging: "_Merging", rows: Iterable[Any]) -> Response:
        everything = Range(0, None)
        pieces = merging.encoded()
        first: list[bytes] = []
        size = 0
        is_whole = True
        try:
            await self._ask_others(merging, everything)
            merging.add_own(rows, everything)
            merging.add_extra(self._extra(), everything)
            async for piece in pieces:
                first.append(piece)
                size += len(piece)
                if size >= WHOLE_BYTES_MAX:
                    is_whole = False
                    break
        finally:
            if is_whole:
                await merging.close()
        beginning = b"[" + b"".join(first)
        if is_whole:
            return merging.marked(unless_known(merging.request, beginning + b"]"))

        async def body() -> AsyncIterator[bytes]:
            try:
                yield beginning
                merging.has_begun = True
                async for piece in pieces:
                    yield piece
                yield b"]"
            finally:
                await merging.close()

        return merging.marked(StreamingResponse(body(), media_type="application/json"))

    async def _page(self, merging: "_Merging", rows: Iterable[Any]) -> Response:
        asked = merging.asked
        last = (asked.page or 1) * asked.page_size
        wanted = Range(last - asked.page_size, last)
        merging.keys_only = last > ROWS_AT_ONCE_MAX
        extra = self._extra()
        try:
            await self._ask_others(merging, Range(0, last))
            if merging.keys_only:
                rows = await selected(merging.request, rows, lambda _: True)
            merging.add_own(rows, Range(0, last))
            merging.add_extra(extra, Range(0, last))
            shown, ranges = await merging.cut_out(wanted)
            total, filtered = await merging.counts()
            check_page(asked, filtered)
            if merging.keys_only:
                await merging.close()
                merging.keys_only = False
                await merging.ask_others(ranges)
                merging.add_own(rows, ranges.get(merging.node, NOTHING))
                merging.add_extra(extra, ranges.get("", NOTHING))
                shown, _ = await merging.cut_out(Range(0, asked.page_size))
        finally:
            await merging.close()
        body = b"[" + b",".join(bytes(each.shown) for each in shown) + b"]"
        return merging.marked(unless_known(merging.request, page_of(asked, total, filtered, body)))


class _Merging:
    """One list that is being merged."""

    def __init__(self, request: Request, peers: Peers, columns: Columns[Any], asked: Query) -> None:
        self.request = request
        self.asked = asked
        self.node = management(request).node
        self.sources: list[_Source] = []
        self.keys_only = False
        self.has_begun = False
        """Whether rows were sent, so that nothing can be left out any more."""
        self._peers = peers
        self._columns = columns
        self._left_out: set[str] = set()

    def marked(self, response: Response) -> Response:
        """A response, with the names of those that were left out."""
        if self._left_out:
            response.headers[LEFT_OUT] = ", ".join(sorted(self._left_out))
        return response

    # --- sources ------------------------------------------------------------------------------

    async def ask_others(self, ranges: dict[str, Range]) -> None:
        """Ask other brokers for rows, each for those of its own range."""
        nodes = [node for node in self._peers.nodes() if node in ranges]
        found = await asyncio.gather(*(self._ask(node, ranges[node]) for node in nodes))
        self.sources += filter(None, found)

    async def _ask(self, node: str, wanted: Range) -> _Source | None:
        if wanted.first == wanted.last:
            return None
        request, marks = self.request, marks_of_rows(wanted, keys_only=self.keys_only)
        who, target = identity(request), target_of(request)
        try:
            response = await self._peers.request(node, who, "GET", target, marks)
            if response.status == 400:
                raise BadRequest(await self._reason(node, response))
            if response.status != 200:
                await response.close()
                raise PeerFailed(node, f"status {response.status}")
            source = _Source(node, self._peers.pieces(node, response))
            await source.has_row()
        except PeerFailed as error:
            self._left_out.add(error.node)
            return None
        return source

    async def close(self) -> None:
        """Take no more of what was asked for."""
        sources, self.sources = self.sources, []
        for source in sources:
            await source.close()

    async def _reason(self, node: str, response: PeerResponse) -> str:
        body = b"".join([piece async for piece in self._peers.pieces(node, response)])
        answer = msgspec.json.decode(body)
        return str(answer.get("reason")) if isinstance(answer, dict) else ""

    def add_own(self, rows: Iterable[Any], wanted: Range) -> None:
        """Add the rows of this broker, which are read from here on."""
        self._add(self.node, self._columns, rows, wanted)

    def add_extra(self, rows: list[dict[str, Any]], wanted: Range) -> None:
        """Add rows that no broker has."""
        if rows:
            types = {name: each.type for name, each in self._columns.by_name.items()}
            self._add("", columns_of_dicts(self._columns.noun, types), rows, wanted)

    def _add(self, node: str, columns: Columns[Any], rows: Iterable[Any], wanted: Range) -> None:
        if wanted.first != wanted.last:
            listing = KeyedListing(columns, rows, self.asked, wanted, self.keys_only)
            self.sources.append(_Source(node, lines(management(self.request), listing)))

    # --- merging ------------------------------------------------------------------------------

    async def merged(self) -> AsyncIterator[tuple[_Source, _Row]]:
        """All rows in their order."""
        # Without an order this broker's come first.
        active = sorted(self.sources, key=lambda each: each.node != self.node)
        pick = max if self.asked.reverse else min
        while True:
            for source in list(active):
                if not source.rows and not await self._has_row(source):
                    active.remove(source)
            if not active:
                return
            source = active[0]
            if self.asked.sort is not None and len(active) > 1:
                source = pick(active, key=_first_key)
            yield source, source.take()

    async def _has_row(self, source: _Source) -> bool:
        # Others have their turn between two pieces.
        await asyncio.sleep(0)
        try:
            return await source.has_row()
        except PeerFailed as error:
            if self.has_begun:
                raise Cut(str(error)) from None
            self._left_out.add(error.node)
            source.counts = _Counts(0, 0)
            return False

    async def cut_out(self, wanted: Range) -> tuple[list[_Row], dict[str, Range]]:
        """The rows of a range, and which rows of each source they are."""
        found: list[_Row] = []
        ranges: dict[str, Range] = {}
        index = 0
        async for source, row in self.merged():
            if index >= wanted.first:
                found.append(row)
                before = ranges.get(source.node)
                first = source.taken - 1 if before is None else before.first
                ranges[source.node] = Range(first, source.taken)
            index += 1
            if index == wanted.last:
                break
        return found, ranges

    async def counts(self) -> tuple[int, int]:
        """How many rows there are, and how many meet the conditions."""
        for source in self.sources:
            while await self._has_row(source):
                source.rows.clear()
        known = [each.counts for each in self.sources if each.counts is not None]
        return sum(each.total for each in known), sum(each.filtered for each in known)

    async def encoded(self) -> AsyncIterator[bytes]:
        """All rows in their order, in pieces, with commas between."""
        found: list[bytes] = []
        size = 0
        comma = b""
        async for _, row in self.merged():
            found.append(bytes(row.shown))
            size += len(found[-1])
            if size >= PIECE_BYTES:
                yield comma + b",".join(found)
                found.clear()
                size, comma = 0, b","
        if found:
            yield comma + b",".join(found)


def _first_key(source: _Source) -> tuple[int, Any]:
    row = source.rows[0]
    return row.kind, row.value
