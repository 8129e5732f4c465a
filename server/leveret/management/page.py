"""The files of the management page, from the package, with their headers.

Every path outside `/api/` that is no file is a view of the page, so that it can be shared: it is
answered with `index.html`, whose script finds the view.
"""

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leveret.management.http import failed

INDEX: Final = "index.html"

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
"""Media types by the end of a name; what has none of them is not served."""

CONTENT_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none';"
    " form-action 'self'; frame-ancestors 'none'"
)


class _Asset(NamedTuple):
    plain: bytes
    compressed: bytes
    media_type: str
    tag: str


async def get_file(request: Request) -> Response:
    """A file of the page, or a view of it."""
    path = request.path_params["path"]
    if path == "api" or path.startswith("api/"):
        return failed(404, "Object Not Found", "Not Found")
    assets = _assets()
    return _response(request, assets.get(path) or assets[INDEX])


def _response(request: Request, asset: _Asset) -> Response:
    headers = {
        "ETag": asset.tag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_POLICY,
        "Vary": "Accept-Encoding",
    }
    if asset.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(asset.compressed, headers=headers, media_type=asset.media_type)
    return Response(asset.plain, headers=headers, media_type=asset.media_type)


@cache
def _assets() -> dict[str, _Asset]:
    """The files by path, read once."""
    found: dict[str, _Asset] = {}

    def read(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            if entry.is_dir():
                read(entry, f"{path}/")
            elif media_type := TYPES.get(f".{entry.name.rpartition('.')[2]}"):
                plain = entry.read_bytes()
                tag = f'"{hashlib.blake2b(plain, digest_size=12).hexdigest()}"'
                found[path] = _Asset(plain, gzip.compress(plain, 6, mtime=0), media_type, tag)

    read(files("leveret.management") / "web", "")
    return found


ROUTES: Final = (Route("/{path:path}", get_file, methods=["GET"]),)
