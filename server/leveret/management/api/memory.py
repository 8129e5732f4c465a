"""The memory limit in force, which can be changed until the next start."""

from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.management.description import described
from leveret.management.http import BadRequest, body, changed, management, operator, route
from leveret.memory import memory_limit_bytes, memory_total_bytes


class MemoryLimitBody(msgspec.Struct, forbid_unknown_fields=True):
    """The limit, in one of two ways."""

    fraction: float | None = None
    """Of the memory, 0 to 1. With 0 publishers are blocked at once."""
    absolute: int | str | None = None
    """Bytes, or a size, as of the key `memory.limit`."""


def _limit_bytes(given: MemoryLimitBody) -> int:
    if (given.fraction is None) == (given.absolute is None):
        raise BadRequest("expected either a fraction or an absolute value")
    if given.fraction is not None:
        if not 0 <= given.fraction <= 1:
            raise BadRequest("the threshold should be a fraction between 0.0 and 1.0")
        return int(given.fraction * memory_total_bytes())
    if str(given.absolute) == "0":
        return 0
    try:
        return memory_limit_bytes(given.absolute or 0)
    except ValueError as error:
        raise BadRequest(str(error)) from None


@described(takes=MemoryLimitBody)
async def put_memory_limit(request: Request) -> Response:
    """Change the memory limit until the next start."""
    limit = _limit_bytes(await body(request, MemoryLimitBody))
    management(request).set_memory_limit(limit)
    operator(request).log("memory limit changed", {"bytes": limit})
    return await changed(request)


ROUTES: Final = (route("/api/memory-limit", PUT=put_memory_limit),)
