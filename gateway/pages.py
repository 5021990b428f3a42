"""The files of ``web/``: the page, the console, the docs and the JavaScript client, as a browser wants them.

What there is is listed once, at the start: a path that is not in the list leads nowhere, whatever it is made of. Files
are read when they are asked for first, or have changed, and compressed then. Nothing here knows the gateway.
"""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".ts": "text/plain; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".LICENSE": "text/plain; charset=utf-8",
}
FOLDERS = ("page", "vendor")  # flat: their names are served below theirs
NAMED = {
    "/": "index.html",
    "/console": "console.html",
    "/docs": "docs.html",
    "/client.js": "client.js",
    "/client.d.ts": "client.d.ts",
    "/worker.js": "worker.js",
}
SHARED = {"/client.js", "/client.d.ts"}  # also for pages of other origins
LEAST = 1_024  # bytes worth compressing
HEADERS = {
    "Cache-Control": "no-cache",  # asked for each time, and mostly answered by 304
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # The page may look at other gateways, too. Charts set styles of their own.
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss: http: https:; img-src 'self' data:; "
        "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; frame-ancestors 'self'"
    ),
}


@dataclass(frozen=True, slots=True)
class Content:
    plain: bytes
    packed: bytes | None  # None: not worth it
    tag: str
    changed_ns: int


def folder() -> Path:
    """Beside this package in a checkout, inside it where it was installed."""
    inside = Path(__file__).parent / "web"
    return inside if inside.is_dir() else inside.parents[1] / "web"


class Pages:
    """``root``: the folder; it may lack any of its files."""

    def __init__(self, root: Path) -> None:
        self._files = dict(_listed(root))
        self._contents: dict[str, Content] = {}

    paths = (*NAMED, *(f"/{name}/{{name}}" for name in FOLDERS))  # as a router has them

    async def answer(self, request: Request) -> Response:
        """The file of this path.

        Raises:
            HTTPException: there is none.
        """
        path = request.scope["path"]
        content = self._content(path)
        if content is None:
            raise HTTPException(404)
        headers = {**HEADERS, "ETag": content.tag, "Vary": "Accept-Encoding, Accept"}
        if path in SHARED:
            headers["Access-Control-Allow-Origin"] = "*"
        if content.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = content.plain
        if content.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            body = content.packed
        return Response(body, headers=headers, media_type=TYPES[self._files[path].suffix])

    def _content(self, path: str) -> Content | None:
        try:
            changed_ns = self._files[path].stat().st_mtime_ns
            known = self._contents.get(path)
            if known is None or known.changed_ns != changed_ns:
                self._contents[path] = known = _read(self._files[path], changed_ns)
        except (KeyError, OSError):
            return None
        return known


def _listed(root: Path) -> Iterator[tuple[str, Path]]:
    for path, name in NAMED.items():
        yield path, root / name
    for name in FOLDERS:
        for file in sorted((root / name).glob("[!.]*")):
            if file.suffix in TYPES:
                yield f"/{name}/{file.name}", file


def _read(file: Path, changed_ns: int) -> Content:
    plain = file.read_bytes()
    packed = gzip.compress(plain, 9, mtime=0) if len(plain) >= LEAST else None
    return Content(plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:16]}"', changed_ns)
