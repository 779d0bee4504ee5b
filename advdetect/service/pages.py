"""The page's files: read once, served to whoever comes; they hold no secret."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Request, Response

from advdetect.service.refusals import Refused

FOLDER = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# Its own scripts, styles and requests; pictures also from answers (data:) and files chosen (blob:).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
INDEX = "index.html"


@dataclass(frozen=True)
class StaticFile:
    """A file, and the headers it goes with."""

    content: bytes
    headers: Mapping[str, str]


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    headers = {
        "Content-Type": TYPES[path.suffix],
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:20]}"',
        "Cache-Control": "no-cache",  # kept, but asked for: a new version is seen at once
        "Content-Security-Policy": POLICY,
    }
    return StaticFile(content, headers)


def _paths() -> dict[str, Path]:
    found = {f"/page/{path.name}": path for path in FOLDER.iterdir() if path.suffix in TYPES}
    return {"/": found.pop(f"/page/{INDEX}"), **found}


PATHS = _paths()


def page_routes() -> APIRouter:
    """The page and its files; not part of the description, for they answer people."""
    router = APIRouter(include_in_schema=False)
    files = {path: _read(file) for path, file in PATHS.items()}

    @router.get("/")
    @router.get("/page/{name}")
    async def page(request: Request) -> Response:
        found = files.get(request.url.path)
        if found is None:
            raise Refused(404, "path", "no such path")
        known = request.headers.get("if-none-match", "")
        if found.headers["ETag"] in known:
            return Response(status_code=304, headers=dict(found.headers))
        return Response(found.content, headers=dict(found.headers))

    return router
