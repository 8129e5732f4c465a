"""Long lists, encoded in slices of the broker's time."""

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from leveret.engine.values.time_slice import TimeSlice
from leveret.engine.values.work import Work
from leveret.management.http import management

_ENCODER = msgspec.json.Encoder()


class _Encoding(Work):
    """Encodes objects as they come from an iterable."""

    def __init__(self, objects: Iterable[dict[str, Any]]) -> None:
        self.encoded: list[bytes] = []
        self._objects = iter(objects)

    def run(self, time_slice: TimeSlice) -> bool:
        for each in self._objects:
            self.encoded.append(_ENCODER.encode(each))
            if time_slice.is_over_now():
                return False
        return True


async def listed(request: Request, objects: Iterable[dict[str, Any]]) -> Response:
    """The response with a list of objects, which are made as they are encoded.

    The iterable must not depend on what changes between two of them.
    """
    encoding = _Encoding(objects)
    await management(request).run(encoding)
    body = b"[" + b",".join(encoding.encoded) + b"]"
    return Response(body, media_type="application/json")
