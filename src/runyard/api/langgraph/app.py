"""The route table of the LangGraph dialect, on one screen."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from runyard.api import openapi, page
from runyard.api.call import Call
from runyard.api.faces import Table, without
from runyard.api.langgraph import system
from runyard.api.langgraph.problems import ErrorDetail
from runyard.api.operation import operation


@operation("System", needs="nothing", answer=dict[str, Any])
async def openapi_document(call: Call) -> None:
    """This document"""
    await call.answer(_document(call.api.version, call.api.disabled)[0])


@operation("System", needs="nothing", answer=str, media="text/html")
async def docs(call: Call) -> None:
    """This document, to read"""
    await call.page(_document(call.api.version, call.api.disabled)[1], page.HEADERS)


ROUTES: Table = (
    ("/", {"GET": system.ok.named("root")}),
    ("/ok", {"GET": system.ok}),
    ("/info", {"GET": system.info}),
    ("/metrics", {"GET": system.metrics}),
    ("/openapi.json", {"GET": openapi_document}),
    ("/docs", {"GET": docs}),
)

ABOUT = openapi.About(
    "Runyard: LangGraph dialect",
    "The API of LangGraph servers, for clients that speak it.",
    ErrorDetail,
)


@lru_cache(maxsize=2)
def _document(version: str, disabled: frozenset[str]) -> tuple[bytes, bytes]:
    """What describes the table above, as JSON and as a page: made when first asked for."""
    described = openapi.document(without(ROUTES, disabled), version, ABOUT)
    return msgspec.json.encode(described), page.render(described)
