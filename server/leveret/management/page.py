"""The files of the management page, from the package, with their headers.

Every path outside `/api/` that is no file is a view of the page, so that it can be shared: it is
answered with `index.html`, whose script finds the view.

`index.html` names the other files below `/page/` and a digest of all of them: browsers keep these
for good, and a view needs one request. After an upgrade the digest is another one.
"""

import asyncio
import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final, NamedTuple

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
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


VERSIONED: Final = "page/"
"""Before the digest in a path."""

KEPT: Final = "max-age=31536000, immutable"
"""What is below a digest never changes."""


COMMAND_LINE: Final = """\
rabbitmqadmin is not part of Leveret, and works with it as it is: RabbitMQ has it for download, and
Debian in its package rabbitmq-server. It asks the address of this page:

    rabbitmqadmin --host HOST --port 15672 --username NAME --password PASSWORD list queues

On the machine of the broker `leveret --help` shows what there is instead.
"""
"""Where RabbitMQ serves its script: who downloads that from here must not run a page."""


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
    if path == "cli" or path.startswith("cli/"):
        return PlainTextResponse(COMMAND_LINE, 404)
    # The first time takes 20 ms, of which compression leaves the event loop most.
    assets, digest = await asyncio.to_thread(_assets)
    if path.startswith(VERSIONED):
        asset = assets.get(path.removeprefix(f"{VERSIONED}{digest}/"))
        if asset is None:
            return failed(404, "Object Not Found", "a file of another version of the page")
        return _response(request, asset, KEPT)
    return _response(request, assets.get(path) or assets[INDEX], "no-cache")


def _response(request: Request, asset: _Asset, caching: str) -> Response:
    headers = {
        "ETag": asset.tag,
        "Cache-Control": caching,
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
def _assets() -> tuple[dict[str, _Asset], str]:
    """The files by path, read once, and the digest of all."""
    found: dict[str, bytes] = {}

    def read(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            path = f"{prefix}{entry.name}"
            if entry.is_dir():
                read(entry, f"{path}/")
            elif _media_type(entry.name) is not None:
                found[path] = entry.read_bytes()

    read(files("leveret.management") / "web", "")
    digest = _digest(b"".join(path.encode() + found[path] for path in sorted(found)))
    for path in found:
        named, below = f'"/{path}"', f'"/{VERSIONED}{digest}/{path}"'
        found[INDEX] = found[INDEX].replace(named.encode(), below.encode())
    return {path: _asset(path, plain) for path, plain in found.items()}, digest


def _asset(path: str, plain: bytes) -> _Asset:
    media_type = _media_type(path) or ""
    return _Asset(plain, gzip.compress(plain, 6, mtime=0), media_type, f'"{_digest(plain)}"')


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _media_type(path: str) -> str | None:
    return TYPES.get(f".{path.rpartition('.')[2]}")


ROUTES: Final = (Route("/{path:path}", get_file, methods=["GET"]),)
