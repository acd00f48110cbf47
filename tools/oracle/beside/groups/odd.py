"""Bodies that are none: no JSON, null, lists, empty, the wrong type; for every operation that takes one."""

from __future__ import annotations

from tools.oracle.beside.talk import Talk

UNKNOWN = "99999999-9999-4999-8999-999999999999"
CONTENTS = {"none": b"", "null": b"null", "list": b"[]", "text": b'"x"', "broken": b"{", "number": b"1", "empty": b"{}"}


def script(talk: Talk) -> None:
    thread = talk.thread()
    run = talk.thread()
    talk.run(run, "one", {"n": 1})
    paths = (
        "POST /assistants", "POST /assistants/search", "POST /assistants/count", f"PATCH /assistants/{UNKNOWN}",
        f"POST /assistants/{UNKNOWN}/versions", f"POST /assistants/{UNKNOWN}/latest", "POST /threads",
        "POST /threads/search", "POST /threads/count", "POST /threads/prune", f"PATCH /threads/{thread}",
        f"POST /threads/{run}/state", f"POST /threads/{run}/state/checkpoint", f"POST /threads/{run}/history",
        f"POST /threads/{UNKNOWN}/copy", f"POST /threads/{thread}/runs", f"POST /threads/{thread}/runs/wait",
        f"POST /threads/{thread}/runs/stream", "POST /runs", "POST /runs/wait", "POST /runs/stream", "POST /runs/batch",
        "POST /runs/cancel", "POST /runs/crons", f"POST /threads/{thread}/runs/crons", "POST /runs/crons/search",
        "POST /runs/crons/count", f"PATCH /runs/crons/{UNKNOWN}", "PUT /store/items", "DELETE /store/items",
        "POST /store/items/search", "POST /store/namespaces", f"POST /threads/{thread}/commands",
    )  # fmt: skip
    for one in paths:
        method, path = one.split()
        named = path.replace(thread, "T").replace(run, "R").replace(UNKNOWN, "U")
        for name, content in CONTENTS.items():
            if path.endswith(("/search", "/count", "/namespaces")) and name in ("none", "empty"):
                continue  # what there is has the other groups made
            talk.ask(f"{method} {named}: {name}", method, path, content=content)
