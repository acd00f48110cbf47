"""Every example of the client's own pages runs, in order, against a server.

Those fenced as `py` watch a thread, for which the fake server has no stream: `examples/client/watch_thread.py` does the
same, and is run against a real one.
"""

from __future__ import annotations

import re
from pathlib import Path

import httpx2
import pytest
from ap_client import aio
from ap_client.rest import RESTClientObject

from .fake import FakeServer

ROOT = Path(__file__).parents[2]
PAGES = ["docs/client.md", "docs/runyard-client.md", "client/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(page: str, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = httpx2.MockTransport(server)
    monkeypatch.setattr(RESTClientObject, "_own_client", lambda self: httpx2.Client(transport=transport))
    monkeypatch.setattr(aio.ApiClient, "_own_client", lambda self: httpx2.AsyncClient(transport=transport))
    monkeypatch.setenv("RUNYARD_URL", "localhost:8000")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for number, block in enumerate(blocks, 1):
        exec(compile(block, f"<{page}, block {number}>", "exec"), names)
    assert {request.url.host for request in server.requests} == {"localhost"}
