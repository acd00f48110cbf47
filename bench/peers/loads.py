"""What every server is asked: requests of the dialect, each with what its answer has to contain."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from bench.peers.graphs import EVENTS, SENDS
from bench.servers import Server

ITEMS = 100
"""In the store, before it is searched."""


@dataclass(frozen=True)
class Load:
    """One request, sent again and again on so many connections."""

    name: str
    concurrency: int
    method: str
    path: str
    body: str
    contains: str
    """What a right answer has in it: a server is not praised for being wrong."""
    times: int = 1
    """How often it has that."""

    def check(self, server: Server) -> None:
        """Asks once. Raises RuntimeError where the answer is not the right one."""
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request(self.method, self.path, self.body, {"content-type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        told, wanted = text.replace(" ", ""), self.contains.replace(" ", "")  # JSON is spaced as one likes
        if answer.status not in (200, 204) or told.count(wanted) < self.times:
            raise RuntimeError(f"{self.name}: {self.method} {self.path}: {answer.status} {text[:500]}")


def _run(graph: str, **more: Any) -> str:
    return json.dumps({"assistant_id": graph, "input": {"n": 1}, **more})


def loads() -> list[Load]:
    """In the order in which a round has them."""
    wait, fan, stream = _run("one"), _run("fan"), _run("pour", stream_mode=["custom"])
    item = json.dumps({"namespace": ["bench", "peers"], "key": "0", "value": {"n": 0, "text": "a fact"}})
    search = json.dumps({"namespace_prefix": ["bench"], "filter": {"n": ITEMS - 1}, "limit": 10})
    get = "/store/items?namespace=bench.peers&key=0"
    return [
        *(Load("wait", many, "POST", "/runs/wait", wait, '"n":2') for many in (1, 16)),
        *(Load("stream", many, "POST", "/runs/stream", stream, "event: custom", EVENTS) for many in (1, 16)),
        *(Load("fan-out", many, "POST", "/runs/wait", fan, f'"n":{SENDS + 2}') for many in (1, 16)),
        Load("store put", 16, "PUT", "/store/items", item, ""),
        Load("store get", 16, "GET", get, "", '"a fact"'),
        Load("store search", 16, "POST", "/store/items/search", search, '"a fact"'),
    ]


def fill(server: Server) -> None:
    """The store, with what is searched."""
    for number in range(ITEMS):
        value = {"n": number, "text": "a fact"}
        server.call("PUT", "/store/items", {"namespace": ["bench", "peers"], "key": str(number), "value": value})
