"""The grammar: requests that are right, most of them spoiled a little.

What comes out depends on the seed and on the ids that the server has given so far.
"""

from __future__ import annotations

import json
import uuid
from collections import deque
from random import Random
from typing import Any
from urllib.parse import quote

from fuzz.values import CURSORS, NUMBERS, TEXTS, UUIDS, anything, broken, spoiled
from fuzz.wire import Request

AGENTS = ["noop"] * 8 + ["echo"] * 4 + ["stream"] * 2 + ["ask", "fail"]
RUN_PATHS = {
    "create_run": "/runs",
    "create_and_wait_run": "/runs/wait",
    "create_and_stream_run": "/runs/stream",
    "create_thread_run": "/threads/{thread}/runs",
    "create_and_wait_thread_run": "/threads/{thread}/runs/wait",
    "create_and_stream_thread_run": "/threads/{thread}/runs/stream",
}
RESUME_PATHS = {
    "resume_run": "/runs/resume",
    "resume_and_wait_run": "/runs/resume/wait",
    "resume_and_stream_run": "/runs/resume/stream",
}
CREATES_RUNS = frozenset({*RUN_PATHS, *RESUME_PATHS})
"""Operations that make a run."""
COMMANDS = [
    "run.start", "input.respond", "input.inject", "agent.getTree", "state.get", "state.listCheckpoints", "state.fork",
    "subscription.subscribe",
]  # fmt: skip
MODES = ["values", "updates", "messages", "custom"]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "CONNECT", "get", "FOO"]


class Grammar:
    """Makes requests; `runs`, `thread_runs` and `checkpoints` are what the server has told, kept by the driver."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.threads = [str(uuid.UUID(int=self.random.getrandbits(128), version=4)) for _ in range(20)]
        self.runs: deque[str] = deque(maxlen=200)
        self.thread_runs: deque[tuple[str, str]] = deque(maxlen=200)
        """Threads, each with a run of it."""
        self.checkpoints: deque[tuple[str, str]] = deque(maxlen=200)
        """Threads, each with a checkpoint of it."""
        self.made_up: set[str] = set()
        """Ids of threads that are asked for once."""
        self._made = 0

    def next(self) -> Request:
        """The next request."""
        self._made += 1
        kind = self.random.choices(
            [
                self._creation,
                self._resume,
                self._store,
                self._cursor,
                self._search,
                self._thread,
                self._run,
                self._command,
                self._other,
            ],
            [26, 4, 24, 20, 10, 8, 6, 8, 2],
        )[0]
        request = kind()
        return self._confused(request) if self.random.random() < 0.12 else request

    def fresh(self) -> str:
        """The id of a thread that nobody has asked for before."""
        made = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        self.made_up.add(made)
        return made

    # what is asked

    def _creation(self) -> Request:
        random = self.random
        name = random.choice(list(RUN_PATHS))
        wish: dict[str, Any] = {}
        self._maybe(wish, 0.8, agent_id=random.choice(AGENTS))
        self._maybe(wish, 0.7, input=anything(random))
        self._maybe(wish, 0.2, metadata={"n": random.choice(NUMBERS), random.choice(TEXTS): anything(random)})
        self._maybe(wish, 0.2, config={"tags": ["a"], "recursion_limit": random.choice([1, 25, 2**53 - 1, 2**53])})
        self._maybe(wish, 0.2, stream_mode=random.choice([*MODES, MODES, [], "events", ["values", "x"]]))
        self._maybe(wish, 0.4, multitask_strategy=random.choice(["reject", "enqueue", "interrupt", "rollback", "x"]))
        self._maybe(wish, 0.1, on_completion=random.choice(["delete", "keep"]))
        self._maybe(wish, 0.2, on_disconnect=random.choice(["cancel", "continue"]))
        self._maybe(wish, 0.1, after_seconds=random.choice([0, 0.001, 0.05, 5e-324, -1, 3_155_760_001, "1", None]))
        self._maybe(wish, 0.03, messages=[{"role": "user", "content": random.choice(TEXTS)}])
        self._maybe(wish, 0.03, webhook="http://127.0.0.1/")
        self._maybe(wish, 0.02, context=random.choice([{}, {"a": anything(random)}, [], None]))
        self._maybe(
            wish,
            0.02,
            **{random.choice(["interrupt_before", "interrupt_after"]): random.choice(["*", ["a"], "a", [1]])},
        )
        self._maybe(wish, 0.02, durability=random.choice(["sync", "async", "exit", "never"]))
        self._maybe(wish, 0.02, stream_subgraphs=random.choice([True, False, "yes"]))
        self._maybe(wish, 0.03, checkpoint={"checkpoint_id": self._checkpoint()})
        self._maybe(
            wish, 0.05, command=random.choice([{"resume": 1}, {"update": {"a": 1}}, {"goto": "a"}, {"update": 1}, {}])
        )
        thread = random.choice(self.threads)
        if random.random() < 0.3:
            thread = self.fresh()
            wish["if_not_exists"] = "create"
        elif random.random() < 0.7:
            wish["if_not_exists"] = random.choice(["create", "create", "reject", "x"])
        if "{thread}" not in RUN_PATHS[name]:
            self._maybe(wish, 0.6, thread_id=thread)
        return self._with_body(name, "POST", RUN_PATHS[name].replace("{thread}", thread), wish)

    def _resume(self) -> Request:
        name = self.random.choice(list(RESUME_PATHS))
        wish = {"thread_id": self.random.choice(self.threads), "input": anything(self.random)}
        self._maybe(wish, 0.2, agent_id=self.random.choice(AGENTS))
        return self._with_body(name, "PATCH", RESUME_PATHS[name], wish)

    def _store(self) -> Request:
        random = self.random
        namespace = [random.choice(["a", "b", "c", *TEXTS]) for _ in range(random.randrange(4))]
        key = random.choice(["k", *TEXTS])
        match random.randrange(6):
            case 0 | 1:
                value = {
                    "marker": f"m{self._made}",
                    "n": random.choice(NUMBERS),
                    "t": random.choice(TEXTS),
                    "any": anything(random),
                }
                item = {"namespace": namespace, "key": key, "value": value}
                self._maybe(item, 0.1, ttl=random.choice([1, 0.5, 0, -1, 5e-324, 3_155_760_000, 1e300, "1"]))
                return self._with_body("put_item", "PUT", "/store/items", item)
            case 2:
                labels = "".join(f"&namespace={quote(label)}" for label in namespace)
                return Request("get_item", "GET", f"/store/items?key={quote(key)}{labels}")
            case 3:
                return self._with_body("delete_item", "DELETE", "/store/items", {"namespace": namespace, "key": key})
            case 4:
                field = random.choice(["n", "t", "any", "marker", *TEXTS])
                operators = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$", "eq", ""]
                wanted = random.choice(
                    [anything(random), {random.choice(operators): anything(random) for _ in range(2)}]
                )
                search = {"namespace_prefix": namespace[:1], "filter": {field: wanted}, **self._paging()}
                return self._with_body("search_items", "POST", "/store/items/search", search)
            case _:
                ask = {
                    "prefix": namespace[:1],
                    "suffix": namespace[1:],
                    "max_depth": random.choice([1, 2, 3, 2**53 - 1, 0, 2**53]),
                    **self._paging(),
                }
                return self._with_body("list_namespaces", "POST", "/store/namespaces", ask)

    def _cursor(self) -> Request:
        random = self.random
        run, thread = self._run_id(), random.choice(self.threads)
        match random.randrange(5):
            case 0 | 1 | 2:
                query = []
                if random.random() < 0.6:
                    query.append("since=" + quote(random.choice(CURSORS)))
                if random.random() < 0.4:
                    query.append(
                        "stream_mode="
                        + random.choice(
                            [*MODES, "values,custom", " values", "x", "", ",", "values&stream_mode=updates"]
                        ).replace(" ", "+")
                    )
                below = ""
                if random.random() < 0.2:
                    if self.thread_runs and random.random() < 0.8:
                        thread, run = random.choice(list(self.thread_runs))
                    below = f"/threads/{thread}"
                name = "stream_thread_run" if below else "stream_run"
                request = Request(name, "GET", f"{below}/runs/{run}/stream?{'&'.join(query)}".rstrip("?"))
                if random.random() < 0.4:
                    request.headers.append(("last-event-id", random.choice(CURSORS)))
                return request
            case 3:
                path = f"/threads/{thread}/history?limit={self._number()}"
                if self.checkpoints and random.random() < 0.4:
                    thread, checkpoint = random.choice(list(self.checkpoints))
                    path = f"/threads/{thread}/history?limit={self._number()}&before={checkpoint}"
                elif random.random() < 0.3:
                    path += "&before=" + quote(random.choice([*UUIDS, *CURSORS]))
                return Request("get_thread_history", "GET", path)
            case _:
                status = random.choice(["", "&status=success", "&status=pending", "&status=running", "&status="])
                return Request(
                    "search_thread_runs",
                    "GET",
                    f"/threads/{thread}/runs?limit={self._number()}&offset={self._number()}{status}",
                )

    def _search(self) -> Request:
        random = self.random
        ask = self._paging()
        match random.randrange(3):
            case 0:
                self._maybe(ask, 0.3, status=random.choice(["pending", "success", "error", "running", 1]))
                self._maybe(ask, 0.3, thread_id=random.choice([*self.threads, *UUIDS]))
                self._maybe(ask, 0.3, agent_id=random.choice([*AGENTS, *TEXTS]))
                self._maybe(ask, 0.3, metadata={random.choice(["n", *TEXTS]): anything(random)})
                return self._with_body("search_runs", "POST", "/runs/search", ask)
            case 1:
                self._maybe(ask, 0.3, status=random.choice(["idle", "busy", "interrupted", "error", "x"]))
                self._maybe(ask, 0.3, metadata={random.choice(["n", *TEXTS]): anything(random)})
                self._maybe(ask, 0.3, values={random.choice(["ok", "echo", *TEXTS]): anything(random)})
                return self._with_body("search_threads", "POST", "/threads/search", ask)
            case _:
                self._maybe(
                    ask, 0.5, name=random.choice([*AGENTS, *TEXTS]), metadata={random.choice(TEXTS): anything(random)}
                )
                return self._with_body("search_agents", "POST", "/agents/search", ask)

    def _thread(self) -> Request:
        random = self.random
        thread = random.choice([*self.threads, *UUIDS])
        match random.randrange(8):
            case 0 | 1:
                made = {"thread_id": random.choice(self.threads), "metadata": {"n": random.choice(NUMBERS)}}
                self._maybe(made, 0.7, if_exists=random.choice(["do_nothing", "raise", "x"]))
                return self._with_body("create_thread", "POST", "/threads", made)
            case 2 | 3:
                patch: dict[str, Any] = {}
                self._maybe(patch, 0.5, metadata={random.choice(TEXTS): anything(random)})
                self._maybe(patch, 0.5, values={random.choice(TEXTS): anything(random)})
                self._maybe(
                    patch, 0.3, messages=[{"role": "user", "content": random.choice(TEXTS), "id": random.choice(TEXTS)}]
                )
                self._maybe(patch, 0.2, checkpoint={"checkpoint_id": self._checkpoint()})
                return self._with_body("patch_thread", "PATCH", f"/threads/{thread}", patch)
            case 4:
                return Request("copy_thread", "POST", f"/threads/{thread}/copy")
            case 5:
                return Request("delete_thread", "DELETE", f"/threads/{thread}")
            case _:
                return Request("get_thread", "GET", f"/threads/{thread}")

    def _run(self) -> Request:
        random = self.random
        run = self._run_id()
        match random.randrange(4):
            case 0:
                query = random.choice(
                    ["", "?wait=true", "?action=rollback", "?action=rollback&wait=1", "?wait=maybe", "?action=x"]
                )
                return Request("cancel_run", "POST", f"/runs/{run}/cancel{query}")
            case 1:
                return Request("delete_run", "DELETE", f"/runs/{run}")
            case 2:
                return Request("wait_run", "GET", f"/runs/{run}/wait")
            case _:
                return Request("get_run", "GET", f"/runs/{run}")

    def _command(self) -> Request:
        """A command of the streaming protocol."""
        random = self.random
        thread = random.choice(self.threads)
        method = random.choice([*COMMANDS, random.choice(TEXTS)])
        params: dict[str, Any] = {}
        self._maybe(params, 0.6, **{random.choice(["assistantId", "assistant_id"]): random.choice(AGENTS)})
        self._maybe(params, 0.5, input=random.choice([{"messages": [{"role": "user", "content": "x"}]}, {}, None]))
        self._maybe(params, 0.3, input=anything(random))
        self._maybe(params, 0.3, namespace=random.choice([[], ["a"], ["a:1", "b"], [random.choice(TEXTS)], "a"]))
        self._maybe(params, 0.3, checkpointId=self._checkpoint())
        self._maybe(params, 0.2, before=self._checkpoint(), limit=random.choice(NUMBERS))
        self._maybe(params, 0.2, interruptId=random.choice(TEXTS), response=anything(random))
        self._maybe(params, 0.1, responses=[{"namespace": [], "interruptId": "i", "response": anything(random)}])
        self._maybe(params, 0.1, message={"role": random.choice(["user", "ai"]), "content": random.choice(TEXTS)})
        self._maybe(params, 0.1, runId=self._run_id())
        self._maybe(params, 0.1, update={random.choice(TEXTS): 1}, goto=random.choice(["a", {"node": "a"}, [1]]))
        self._maybe(params, 0.1, config={"configurable": {"checkpoint_id": self._checkpoint(), "thread_id": thread}})
        self._maybe(params, 0.1, metadata={random.choice(TEXTS): anything(random)})
        self._maybe(params, 0.1, multitaskStrategy=random.choice(["reject", "enqueue", "interrupt", "rollback", "x"]))
        self._maybe(params, 0.1, keys=random.choice([[], ["a"], [random.choice(TEXTS)], [1]]))
        command = {"id": random.choice([1, 1, 1, 0, *NUMBERS]), "method": method, "params": params}
        return self._with_body("send_thread_streaming_command", "POST", f"/threads/{thread}/commands", command)

    def _other(self) -> Request:
        agent = quote(self.random.choice([*AGENTS, *TEXTS]), safe="")
        return self.random.choice(
            [
                Request("get_agent", "GET", f"/agents/{agent}"),
                Request("get_agent_schemas", "GET", f"/agents/{agent}/schemas"),
                Request("ok", "GET", "/ok"),
                Request("ready", "GET", "/ready"),
                Request("info", "GET", "/info"),
                Request("openapi_document", "GET", "/openapi.json"),
            ]
        )

    # how it is spoiled

    def _with_body(self, operation: str, method: str, path: str, document: dict[str, Any]) -> Request:
        random = self.random
        for _ in range(random.choices([0, 1, 2], [55, 35, 10])[0]):
            document = spoiled(random, document)
        text = json.dumps(document, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
        if random.random() < 0.15:
            text = broken(random, text)
        request = Request(operation, method, path, [("content-type", "application/json")], text, wish=document)
        if operation in CREATES_RUNS and random.random() < 0.1:
            keys = ["k1", "k2", "", "x" * 255, "x" * 256, "ä", " k1 ", "k1, k2"]
            request.headers.append(("idempotency-key", random.choice(keys)))
        if operation.endswith("stream_run") and random.random() < 0.1:
            request.headers.append(("last-event-id", random.choice(CURSORS)))
        return request

    def _confused(self, request: Request) -> Request:
        random = self.random
        match random.randrange(9):
            case 0:
                request.method = random.choice(METHODS)
            case 1:
                types = [
                    "text/plain",
                    "application/json; charset=utf-16",
                    "application/JSON",
                    "application/problem+json",
                    "",
                    "*/*",
                    "multipart/form-data; boundary=x",
                    "json",
                ]
                request.headers = [h for h in request.headers if h[0] != "content-type"]
                if kind := random.choice([*types, None]):
                    request.headers.append(("content-type", kind))
            case 2:
                request.path = random.choice(
                    [
                        f"/{request.path}",
                        request.path + "/",
                        request.path.upper(),
                        request.path + "%00",
                        request.path + "%0A",
                        request.path + "%ff",
                        request.path.replace("/", "%2F", 2),
                        request.path.replace("/", "//", 1),
                        request.path + "/../x",
                        "/x" + request.path,
                        "*",
                        "http://127.0.0.1" + request.path,
                    ]
                )
            case 3:
                junk = random.choice(
                    [
                        "a=b",
                        "%00=1",
                        "limit=%ff",
                        "limit=1&limit=2",
                        "=",
                        "&&&",
                        "a" * 5000,
                        "&a=1" * 1100,
                        "limit=1;offset=2",
                        "%",
                        "%zz",
                        "since=1",
                        "namespace=" * 3,
                    ]
                )
                request.path += ("&" if "?" in request.path else "?") + junk
            case 4:
                request.chunked = request.body is not None
            case 5:
                request.body = random.choice([b"", b"{}", b"x" * 5000, b'{"input":1}'])
            case 6:
                request.headers.append(
                    random.choice(
                        [
                            ("expect", "100-continue"),
                            ("accept", "text/html"),
                            ("x-padding", "y" * 8000),
                            ("authorization", "Bearer x"),
                            ("authorization", "Basic \xff"),
                            ("x-http-method-override", "DELETE"),
                            ("connection", "close"),
                            ("connection", "upgrade"),
                            ("content-encoding", "gzip"),
                            ("range", "bytes=0-1"),
                            ("if-match", "*"),
                            ("cookie", "\xff"),
                        ]
                    )
                )
            case 7:
                request.headers.append(
                    random.choice(
                        [
                            ("origin", "http://evil.example"),
                            ("origin", "null"),
                            ("host", "evil.example"),
                            ("host", ""),
                            ("upgrade", "websocket"),
                            ("transfer-encoding", "gzip"),
                            ("content-length", "5"),
                            ("content-length", "x"),
                            ("bad header", "x"),
                            ("x", "a\0b"),
                        ]
                    )
                )
            case _:
                request.body = None if request.body is None else request.body + b" " * 4_000_000
        return request

    def _maybe(self, document: dict[str, Any], chance: float, **fields: Any) -> None:
        if self.random.random() < chance:
            document.update(fields)

    def _paging(self) -> dict[str, Any]:
        limits: list[Any] = [1, 2, 10, 20, 1000, 2.0]
        offsets: list[Any] = [0, 0, 0, 1, 5, 2**53 - 1]
        if self.random.random() < 0.3:
            limits, offsets = [0, 1001, -1, "10", None, *NUMBERS], [-1, 1.5, "0", None, *NUMBERS]
        return {"limit": self.random.choice(limits), "offset": self.random.choice(offsets)}

    def _number(self) -> str:
        if self.random.random() < 0.7:
            return self.random.choice(["1", "2", "10", "20"])
        return quote(str(self.random.choice(["", "x", "1e2", "+5", " 7", "٣", "1_0", *NUMBERS])))

    def _run_id(self) -> str:
        known = list(self.runs)
        return self.random.choice(known) if known and self.random.random() < 0.9 else quote(self.random.choice(UUIDS))

    def _checkpoint(self) -> str:
        known = [checkpoint for _, checkpoint in self.checkpoints]
        return self.random.choice(known) if known and self.random.random() < 0.7 else self.random.choice(UUIDS)
