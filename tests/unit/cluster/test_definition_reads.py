"""Reads of the shared definitions before somebody is refused: how many there are, and who waits."""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from leveret.cluster.definition_reads import READS_AT_ONCE, READS_PER_S, DefinitionReads
from leveret_storage.coordination import Unreachable


class Definitions:
    """Read when a test says so."""

    def __init__(self) -> None:
        self.reason = ""
        self.reading: list[asyncio.Future[None]] = []
        self.answers_at_once = False

    def why_unavailable(self) -> str:
        return self.reason

    async def refresh(self) -> None:
        if not self.answers_at_once:
            self.reading.append(asyncio.get_running_loop().create_future())
            await self.reading[-1]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


async def turns() -> None:
    """What is ready is done."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_who_asks_before_a_read_begins_shares_it_and_who_asks_later_the_next_one() -> None:
    async def test() -> None:
        definitions = Definitions()
        reads = DefinitionReads(definitions)
        done: list[int] = []
        for number in (1, 2):
            reads.request(partial(done.append, number))
        await turns()
        assert (reads.count, done) == (1, [])
        for number in (3, 4):
            reads.request(partial(done.append, number))
        await turns()
        assert reads.count == 1
        definitions.reading[0].set_result(None)
        await turns()
        assert (reads.count, done) == (2, [1, 2])
        definitions.reading[1].set_result(None)
        await turns()
        assert (reads.count, done) == (2, [1, 2, 3, 4])

    run(test())


def test_a_read_that_fails_answers_everybody_who_waits() -> None:
    async def test() -> None:
        definitions = Definitions()
        reads = DefinitionReads(definitions)
        done: list[int] = []
        reads.request(lambda: done.append(1))
        await turns()
        reads.request(lambda: done.append(2))
        definitions.reading[0].set_exception(Unreachable("away"))
        await turns()
        assert (reads.count, done) == (1, [1, 2])

    run(test())


def test_a_database_that_does_not_answer_is_waited_for_no_longer_than_a_second() -> None:
    async def test() -> None:
        reads = DefinitionReads(Definitions())
        done = asyncio.Event()
        reads.request(done.set)
        await done.wait()
        assert reads.count == 1

    run(test())


def test_nothing_is_read_while_the_database_is_away() -> None:
    async def test() -> None:
        definitions = Definitions()
        definitions.reason = "it is away"
        reads = DefinitionReads(definitions)
        done = asyncio.Event()
        reads.request(done.set)
        assert not done.is_set()
        await done.wait()
        assert reads.count == 0

    run(test())


def test_somebody_who_tries_passwords_costs_a_few_reads_a_second() -> None:
    async def test() -> None:
        definitions = Definitions()
        definitions.answers_at_once = True
        reads = DefinitionReads(definitions)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(READS_AT_ONCE + 2):
            done = asyncio.Event()
            reads.request(done.set)
            await done.wait()
        # However slow the machine is.
        assert reads.count <= READS_AT_ONCE + 1 + (loop.time() - began) * READS_PER_S
        assert loop.time() - began >= 1 / READS_PER_S

    run(test())
