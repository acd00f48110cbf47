"""A face that describes itself: its routes as an OpenAPI document, for programs and to read."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from runyard.api import openapi, page
from runyard.api.call import Call
from runyard.api.faces import Table, without
from runyard.api.operation import Operation, operation


def described(table: Callable[[], Table], about: openapi.About = openapi.AGENT_PROTOCOL) -> tuple[Operation, Operation]:
    """The operations that answer with the document, and with its page. They stand in the `table` themselves, so that is
    asked for when somebody wants to read it, and the document made then, once."""

    @lru_cache(maxsize=2)
    def made(version: str, disabled: frozenset[str], security: bytes) -> tuple[bytes, bytes]:
        document = openapi.document(without(table(), disabled), version, about, security)
        return msgspec.json.encode(document), page.render(document)

    @operation("System", needs="nothing", answer=dict[str, Any])
    async def openapi_document(call: Call) -> None:
        """This document"""
        await call.answer(made(call.api.version, call.api.disabled, call.api.security)[0])

    @operation("System", needs="nothing", answer=str, media="text/html")
    async def docs(call: Call) -> None:
        """This document, to read"""
        await call.page(made(call.api.version, call.api.disabled, call.api.security)[1], page.HEADERS)

    return openapi_document, docs
