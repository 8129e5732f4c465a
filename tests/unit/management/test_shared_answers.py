"""Live streams that watch the same path for the same user share the answer; others do not."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from leveret.config import Config
from leveret.engine.broker import Broker
from leveret.engine.metadata.entities import Permission
from leveret.management.authorisation import Identity
from leveret.management.service import Management
from leveret.management.shared_answers import SHARED_BYTES_MAX, SharedAnswers

ANNA = Identity("anna", "host-1", frozenset(("management",)))
BERT = Identity("bert", "host-1", frozenset(("management",)))
PATH = "/api/overview"


def ignore(limit_bytes: int) -> None:
    """What does not change the memory limit."""


class Api:
    """An API that answers with the number of the request, once it may."""

    def __init__(self) -> None:
        self.management = Management(Broker(Config()), list, list, ignore)
        self.shared = SharedAnswers()
        self.requests: list[Identity] = []
        self.begun = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.padding = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(scope["state"]["identity"])
        number = len(self.requests)
        self.begun.set()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200})
        await send(
            {"type": "http.response.body", "body": b'"%d%b"' % (number, self.padding.encode())}
        )

    def begin(self, by: Identity, *, fresh: bool = False) -> asyncio.Task[int]:
        """Have a stream look; what it gets is the number of the request."""
        return asyncio.get_running_loop().create_task(self.look(by, fresh=fresh))

    async def look(self, by: Identity, path: str = PATH, *, fresh: bool = False) -> int:
        """The number of the request that answers a stream."""
        answer = await self.shared.answer(self._stream(), by, path, fresh=fresh)
        data = msgspec.json.decode(answer.event.partition(b"data: ")[2])
        assert (data["watch"], data["status"]) == (path, 200)
        return int(data["body"].rstrip("-"))

    def _stream(self) -> Request:
        state = SimpleNamespace(management=self.management, entry=self)
        scope = {"type": "http", "headers": [], "app": SimpleNamespace(state=state)}
        return Request(scope)


def run(test: Callable[[Api], Awaitable[None]]) -> None:
    async def begin() -> None:
        await test(Api())

    asyncio.run(begin())


def test_streams_of_the_same_user_wait_for_one_request_wherever_they_are() -> None:
    async def test(api: Api) -> None:
        looks = [api.begin(ANNA._replace(origin=f"host-{n}")) for n in range(9)]
        await api.begun.wait()
        api.may_answer.set()
        assert await asyncio.gather(*looks) == [1] * 9
        assert len(api.requests) == 1

    run(test)


def test_another_user_another_tag_and_another_path_are_requests_of_their_own() -> None:
    async def test(api: Api) -> None:
        with_tag = ANNA._replace(tags=frozenset(("administrator",)))
        looks = [api.look(ANNA), api.look(BERT), api.look(with_tag), api.look(ANNA, PATH + "?x")]
        api.may_answer.set()
        assert await asyncio.gather(*looks) == [1, 2, 3, 4]
        assert api.requests == [ANNA, BERT, with_tag, ANNA]

    run(test)


def test_an_answer_from_before_a_change_of_permissions_serves_nobody() -> None:
    async def test(api: Api) -> None:
        before = api.begin(ANNA)
        await api.begun.wait()
        api.management.metadata.put(Permission("anna", "/", "", "", ""))
        after = api.begin(ANNA)
        api.may_answer.set()
        assert list(await asyncio.gather(before, after)) == [1, 2]

    run(test)


def test_what_was_asked_for_before_does_not_serve_a_stream_that_opens() -> None:
    async def test(api: Api) -> None:
        before = api.begin(ANNA)
        await api.begun.wait()
        opening = api.begin(ANNA, fresh=True)
        api.may_answer.set()
        assert list(await asyncio.gather(before, opening)) == [1, 2]

    run(test)


def test_a_stream_that_ends_while_it_asks_takes_no_answer_from_others() -> None:
    async def test(api: Api) -> None:
        ending = api.begin(ANNA)
        await api.begun.wait()
        others = [api.begin(ANNA) for _ in range(3)]
        await asyncio.sleep(0)
        others.pop().cancel()
        ending.cancel()
        api.may_answer.set()
        assert await asyncio.gather(*others) == [2, 2]
        with pytest.raises(asyncio.CancelledError):
            await ending

    run(test)


def test_answers_that_are_too_long_together_are_not_kept() -> None:
    async def test(api: Api) -> None:
        api.may_answer.set()
        api.padding = "-" * 1_000_000
        paths = [f"{PATH}?{number}" for number in range(SHARED_BYTES_MAX // 1_000_000 + 1)]
        for number, path in enumerate(paths, 1):
            assert await api.look(ANNA, path) == number
        assert await api.look(ANNA, paths[-1]) == len(paths) + 1

    run(test)
