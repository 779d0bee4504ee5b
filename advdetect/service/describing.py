"""The OpenAPI description as a page: plain HTML, for the usual ones come from elsewhere."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>advdetect: routes</title>
</head>
<body>
<h1>advdetect: routes</h1>
<p>The same for programs: <a href="/openapi.json">openapi.json</a></p>
{routes}
</body>
</html>
"""


def description_routes() -> APIRouter:
    """The page, which describes whatever application it is part of."""
    router = APIRouter()

    @router.get("/docs", response_class=HTMLResponse, summary="This page")
    async def describe(request: Request) -> HTMLResponse:
        return HTMLResponse(PAGE.format(routes="\n".join(_routes(request.app.openapi()))))

    return router


def _routes(description: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
            yield f"<p>{escape(route['summary'])}. {escape(route.get('description', ''))}</p>"
            yield "<ul>"
            for parameter in route.get("parameters", ()):
                yield f"<li>takes <code>{escape(parameter['name'])}</code></li>"
            for kind in route.get("requestBody", {}).get("content", ()):
                yield f"<li>takes <code>{escape(kind)}</code></li>"
            for status, response in route["responses"].items():
                yield f"<li>answers {escape(status)}: {escape(response['description'])}</li>"
            yield "</ul>"
