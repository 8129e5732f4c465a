"""Lists: filtered, sorted, cut into pages and encoded in slices of the broker's time.

The parameters are RabbitMQ's (HTTP API Reference, "Pagination and filtering"): `name`, `use_regex`,
`sort`, `sort_reverse`, `columns`, `page`, `page_size`; and `filter` (`filters.py`). Without `page`
the response is the list, with it an object that has the page in `items`.

A response of a page, or of a short list, has an ETag. A long list is sent as it is encoded, so that
it is never in memory as a whole.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work, run_steps
from leveret.management.columns import Columns, Names, wanted_names
from leveret.management.filters import Condition, FilterError, conditions, name_condition
from leveret.management.http import BadRequest, failed, management, unless_known, whole_number

R = TypeVar("R")

PAGE_SIZE: Final = 100
PAGE_SIZE_MAX: Final = 500

NUMBER: Final = re.compile(r"-?[0-9]+")

NUMBER_DIGITS_MAX: Final = 9

PIECE_BYTES: Final = 256 * 1024
"""Bytes of a list that are encoded before they are sent."""

WHOLE_BYTES_MAX: Final = 1024 * 1024
"""Bytes up to which a list is sent as a whole, with an ETag."""

ELSEWHERE: Final = "listed_elsewhere"
"""The name in the state of a request by which it has its `ListedElsewhere`, if it has one."""

CHUNK_ROWS: Final = 64
"""Rows that are looked at between two looks at the clock."""

SORTED_AT_ONCE: Final = 8192
"""Rows that are sorted in one go, which takes two milliseconds; the parts are merged."""

_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


class PageOutOfRange(Exception):
    """There are fewer pages."""


class Query(NamedTuple):
    """What a request asks of a list."""

    conditions: list[Condition]
    sort: str | None
    reverse: bool
    wanted: Names | None
    page: int | None
    page_size: int


class Listing(Work, Generic[R]):
    """Encodes the rows that were asked for."""

    def __init__(self, columns: Columns[R], rows: Iterable[R], query: Query) -> None:
        self.total = 0
        self.filtered = 0
        self.is_done = False
        self.failure: Exception | None = None
        self._columns = columns
        self._rows = rows
        self._query = query
        self._encoded: list[bytes] = []
        self._bytes = 0
        self._steps = self._run()

    @property
    def is_full(self) -> bool:
        """Whether enough is encoded to be sent."""
        return self._query.page is None and self._bytes >= PIECE_BYTES

    def take(self) -> bytes:
        """What was encoded since the last call, with commas between."""
        return b",".join(self._taken())

    def _taken(self) -> list[bytes]:
        encoded, self._encoded, self._bytes = self._encoded, [], 0
        return encoded

    def run(self, time_slice: TimeSlice) -> bool:
        try:
            self.is_done = run_steps(self._steps, time_slice)
        except (FilterError, PageOutOfRange) as error:
            self.failure = error
            self.is_done = True
        return self.is_done or self.is_full

    def _run(self) -> Iterator[None]:
        page, size = self._query.page, self._query.page_size
        first, last = (0, None) if page is None else ((page - 1) * size, page * size)
        yield from self._encode(first, last)
        check_page(self._query, self.filtered)

    def _encode(self, first: int, last: int | None) -> Iterator[None]:
        """Encode the rows of a range of those that were asked for."""
        index = 0
        for rows in self._parts():
            for row in rows[max(0, first - index) : None if last is None else max(0, last - index)]:
                piece = self._piece(row)
                self._encoded.append(piece)
                self._bytes += len(piece)
                yield
            index += len(rows)
            yield

    def _piece(self, row: R) -> bytes:
        return _ENCODER.encode(self._columns.shown(row, self._query.wanted))

    def _parts(self) -> Iterator[list[R]]:
        """The rows that were asked for, in their order, some at a time."""
        if self._query.sort is None:
            yield from self._matching()
            return
        key = self._columns.getter(self._query.sort)
        runs: dict[int, list[_Run[R]]] = {}
        for rows in self._matching():
            for row in rows:
                kind, value = sort_key(key(row))
                same = runs.get(kind)
                if same is None:
                    same = runs[kind] = [_Run()]
                elif len(same[-1].rows) == SORTED_AT_ONCE:
                    same[-1].sort(self._query.reverse)
                    same.append(_Run())
                same[-1].keys.append(value)
                same[-1].rows.append(row)
            yield []
        for kind in sorted(runs, reverse=self._query.reverse):
            for run in runs[kind]:
                run.sort(self._query.reverse)
                yield []
            yield from _merged(runs[kind], self._query.reverse)

    def _matching(self) -> Iterator[list[R]]:
        """The rows that meet the conditions, some at a time."""
        tests = [(each.holds, self._columns.getter(each.path)) for each in self._query.conditions]
        rows = iter(self._rows)
        while chunk := list(islice(rows, CHUNK_ROWS)):
            self.total += len(chunk)
            for holds, value in tests:
                chunk = [row for row in chunk if holds(value(row))]
            self.filtered += len(chunk)
            yield chunk


class _Run(Generic[R]):
    """Rows that are sorted in one go, and what they are sorted by."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.rows: list[R] = []

    def sort(self, reverse: bool) -> None:
        order = sorted(range(len(self.keys)), key=self.keys.__getitem__, reverse=reverse)
        self.keys = [self.keys[index] for index in order]
        self.rows = [self.rows[index] for index in order]


def _merged(runs: list[_Run[R]], reverse: bool) -> Iterator[list[R]]:
    """The rows of sorted runs in one order, some at a time."""
    if len(runs) == 1:
        yield runs[0].rows
        return
    pairs = (zip(run.keys, run.rows, strict=True) for run in runs)
    merging = merge(*pairs, key=itemgetter(0), reverse=reverse)
    while chunk := [row for _, row in islice(merging, CHUNK_ROWS)]:
        yield chunk


def check_page(asked: Query, filtered: int) -> None:
    """Check that there is the page that was asked for.

    :param filtered: rows that meet the conditions.
    :raises PageOutOfRange: if there are fewer pages.
    """
    page, size = asked.page, asked.page_size
    if page is not None and page > 1 and (page - 1) * size >= filtered:
        raise PageOutOfRange(f"Page: {page} out of range, page_size: {size}, len: {filtered}")


def sort_key(value: object) -> tuple[int, Any]:
    """What a value is sorted by: nothing first, then numbers, then text."""
    if isinstance(value, str):
        return 2, value
    if value is None:
        return 0, 0
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def query(request: Request, columns: Columns[R]) -> Query:
    """What a request asks of a list.

    :raises BadRequest: if a parameter is wrong.
    """
    given = request.query_params
    found: list[Condition] = []
    try:
        if name := given.get("name"):
            found.append(name_condition(name, given.get("use_regex") == "true"))
        if expression := given.get("filter"):
            found += conditions(expression, columns)
    except FilterError as error:
        raise BadRequest(str(error)) from None
    sort = given.get("sort") or None
    if sort is not None and sort.partition(".")[0] not in columns.by_name:
        sort = None
    page = size = None
    if "page" in given:
        page = _number(given["page"], 1, None)
        size = _number(given.get("page_size", str(PAGE_SIZE)), 1, PAGE_SIZE_MAX)
        if page is None or size is None:
            numbers = (given["page"], given.get("page_size", "1"))
            are_numbers = all(NUMBER.fullmatch(number) for number in numbers)
            raise BadRequest(
                f"Invalid pagination parameters: page {given['page']!r},"
                f" page_size {given.get('page_size', PAGE_SIZE)!r} (1 to {PAGE_SIZE_MAX})",
                "invalid_pagination_parameters" if are_numbers else "bad_request",
            )
        if sort is None and "name" in columns.by_name:
            sort = "name"
    wanted = given.get("columns")
    return Query(
        found,
        sort,
        given.get("sort_reverse") == "true",
        wanted_names(wanted.split(",")) if wanted else None,
        page,
        size or PAGE_SIZE,
    )


def _number(text: str, low: int, high: int | None) -> int | None:
    number = whole_number(text, NUMBER_DIGITS_MAX)
    if number is None or number < low:
        return None
    return number if high is None or number <= high else None


class ListedElsewhere(ABC):
    """Answers a list in place of `listed`, for brokers whose rows are a part of it."""

    @abstractmethod
    async def listed(
        self, request: Request, columns: Columns[Any], rows: Iterable[Any], asked: Query
    ) -> Response:
        """The response, as `listed` has it.

        :param rows: those of this broker.
        """


async def listed(request: Request, columns: Columns[R], rows: Iterable[R]) -> Response:
    """The response with those of the rows that a request asks for.

    :param rows: they are read in slices, so the iterable must not depend on what changes between.
    :raises BadRequest: if a parameter is wrong.
    """
    asked = query(request, columns)
    elsewhere: ListedElsewhere | None = getattr(request.state, ELSEWHERE, None)
    if elsewhere is not None:
        return await elsewhere.listed(request, columns, rows, asked)
    listing = Listing(columns, rows, asked)
    pieces: list[bytes] = []
    size = 0
    while not listing.is_done and size < WHOLE_BYTES_MAX:
        await management(request).run(listing)
        pieces.append(listing.take())
        size += len(pieces[-1])
    if isinstance(listing.failure, PageOutOfRange):
        return failed(400, "page_out_of_range", str(listing.failure))
    if listing.failure is not None:
        raise BadRequest(str(listing.failure))
    if not listing.is_done:
        return StreamingResponse(_streamed(request, listing, pieces), media_type="application/json")
    body = b"[" + b",".join(filter(None, pieces)) + b"]"
    if asked.page is not None:
        body = page_of(asked, listing.total, listing.filtered, body)
    return unless_known(request, body)


class _Selecting(Work, Generic[R]):
    """Finds the rows that are wanted."""

    def __init__(self, rows: Iterable[R], wanted: Callable[[R], bool]) -> None:
        self.found: list[R] = []
        self._steps = self._run(iter(rows), wanted)

    def run(self, time_slice: TimeSlice) -> bool:
        return run_steps(self._steps, time_slice)

    def _run(self, rows: Iterator[R], wanted: Callable[[R], bool]) -> Iterator[None]:
        while chunk := list(islice(rows, CHUNK_ROWS)):
            self.found += filter(wanted, chunk)
            yield


async def selected(request: Request, rows: Iterable[R], wanted: Callable[[R], bool]) -> list[R]:
    """Those of many rows that are wanted, found in slices of the broker's time.

    :param rows: as for `listed`.
    """
    selecting = _Selecting(rows, wanted)
    await management(request).run(selecting)
    return selecting.found


async def _streamed(
    request: Request, listing: Listing[R], pieces: list[bytes]
) -> AsyncIterator[bytes]:
    yield b"[" + b",".join(filter(None, pieces))
    pieces.clear()
    while not listing.is_done:
        await management(request).run(listing)
        if piece := listing.take():
            yield b"," + piece
    yield b"]"


def page_of(asked: Query, total: int, filtered: int, items: bytes) -> bytes:
    """The page that was asked for, in JSON.

    :param filtered: rows that meet the conditions, of all that there are.
    :param items: the rows of the page, as a list in JSON.
    """
    first = ((asked.page or 1) - 1) * asked.page_size
    return _ENCODER.encode(
        {
            "total_count": total,
            "item_count": max(0, min(asked.page_size, filtered - first)),
            "filtered_count": filtered,
            "page": asked.page,
            "page_size": asked.page_size,
            "page_count": max(1, -(-filtered // asked.page_size)),
            "items": msgspec.Raw(items),
        }
    )
