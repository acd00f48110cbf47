"""The route table of the LangGraph dialect, on one screen."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from runyard.api import openapi, page
from runyard.api.call import Call
from runyard.api.faces import Table
from runyard.api.langgraph import assistants, crons, system
from runyard.api.langgraph.problems import ErrorDetail
from runyard.api.operation import operation


@operation("System", needs="nothing", answer=dict[str, Any])
async def openapi_document(call: Call) -> None:
    """This document"""
    await call.answer(_document(call.api.version)[0])


@operation("System", needs="nothing", answer=str, media="text/html")
async def docs(call: Call) -> None:
    """This document, to read"""
    await call.page(_document(call.api.version)[1], page.HEADERS)


ROUTES: Table = (
    ("/", {"GET": system.ok.named("root")}),
    ("/ok", {"GET": system.ok}),
    ("/info", {"GET": system.info}),
    ("/metrics", {"GET": system.metrics}),
    ("/openapi.json", {"GET": openapi_document}),
    ("/docs", {"GET": docs}),
    ("/assistants", {"POST": assistants.create_assistant}),
    ("/assistants/search", {"POST": assistants.search_assistants}),
    ("/assistants/count", {"POST": assistants.count_assistants}),
    ("/assistants/{assistant_id}", {"GET": assistants.get_assistant, "PATCH": assistants.patch_assistant,
                                    "DELETE": assistants.delete_assistant}),
    ("/assistants/{assistant_id}/graph", {"GET": assistants.get_assistant_graph}),
    ("/assistants/{assistant_id}/subgraphs", {"GET": assistants.get_assistant_subgraphs}),
    ("/assistants/{assistant_id}/subgraphs/{namespace}", {"GET": assistants.get_assistant_subgraph}),
    ("/assistants/{assistant_id}/schemas", {"GET": assistants.get_assistant_schemas}),
    ("/assistants/{assistant_id}/versions", {"POST": assistants.list_assistant_versions}),
    ("/assistants/{assistant_id}/latest", {"POST": assistants.set_latest_assistant_version}),
    ("/runs/crons", {"POST": crons.create_cron}),
    ("/runs/crons/search", {"POST": crons.search_crons}),
    ("/runs/crons/count", {"POST": crons.count_crons}),
    ("/runs/crons/{cron_id}", {"GET": crons.get_cron, "PATCH": crons.patch_cron, "DELETE": crons.delete_cron}),
    ("/threads/{thread_id}/runs/crons", {"POST": crons.create_thread_cron}),
)  # fmt: skip

ABOUT = openapi.About(
    "Runyard: LangGraph dialect",
    "The API of LangGraph servers, for clients that speak it.",
    ErrorDetail,
)


@lru_cache(maxsize=2)
def _document(version: str) -> tuple[bytes, bytes]:
    """What describes the table above, as JSON and as a page: made when first asked for."""
    described = openapi.document(ROUTES, version, ABOUT)
    return msgspec.json.encode(described), page.render(described)
