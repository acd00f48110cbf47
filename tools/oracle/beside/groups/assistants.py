"""Assistants: made, found, changed, versions, graphs, schemas."""

from __future__ import annotations

import uuid
from typing import Any

from tools.oracle.beside.talk import Talk

UNKNOWN = "11111111-1111-4111-8111-111111111111"
GRAPHS = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
"""Default assistants have a UUIDv5 of their graph's name in this namespace."""
FIELDS = ("assistant_id", "name", "graph_id", "created_at", "updated_at")


def script(talk: Talk) -> None:
    made = talk.ask(
        "create", "POST", "/assistants",
        {"graph_id": "weather", "name": "kind", "description": "of use", "metadata": {"kind": "test", "n": 1},
         "config": {"tags": ["a"], "recursion_limit": 7, "configurable": {"flavour": "mint"}}},
    )  # fmt: skip
    one = talk.knows(made["assistant_id"], "assistant")
    _create(talk, one)
    _find(talk, one)
    _graphs(talk, one)
    _change(talk, one)
    _used(talk)
    talk.ask("delete", "DELETE", f"/assistants/{one}")
    talk.ask("delete again", "DELETE", f"/assistants/{one}")
    talk.ask("get deleted", "GET", f"/assistants/{one}")


def _create(talk: Talk, one: str) -> None:
    bodies: dict[str, Any] = {
        "least": {"graph_id": "one"},
        "context": {"graph_id": "weather", "context": {"tone": "warm"}},
        "config with context": {"graph_id": "weather", "config": {"configurable": {"a": 1}}, "context": {"tone": "b"}},
        "same id": {"graph_id": "one", "assistant_id": one},
        "same id, do nothing": {"graph_id": "one", "assistant_id": one, "if_exists": "do_nothing"},
        "unknown graph": {"graph_id": "nobody"},
        "no graph": {"name": "x"},
        "bad id": {"graph_id": "one", "assistant_id": "x"},
        "nulls": {"graph_id": "one", "assistant_id": None, "config": None, "metadata": None, "name": None,
                  "description": None, "context": None, "if_exists": None},
        "wrong metadata": {"graph_id": "one", "metadata": [1]},
        "extra field": {"graph_id": "one", "colour": "red"},
    }  # fmt: skip
    for name, body in bodies.items():
        talk.ask(f"create: {name}", "POST", "/assistants", body)


def _find(talk: Talk, one: str) -> None:
    talk.ask("get", "GET", f"/assistants/{one}")
    talk.ask("get unknown", "GET", f"/assistants/{UNKNOWN}")
    talk.ask("get bad", "GET", "/assistants/xyz")
    searches: dict[str, Any] = {
        "by metadata": {"metadata": {"kind": "test"}},
        "by graph": {"graph_id": "weather", "sort_by": "created_at", "sort_order": "asc"},
        "by name": {"name": "KIN"},
        "one of more": {"graph_id": "weather", "limit": 1, "sort_by": "name", "sort_order": "desc"},
        "page": {"graph_id": "weather", "limit": 1, "offset": 1},
        "behind the end": {"graph_id": "weather", "offset": 100},
        "select": {"metadata": {"kind": "test"}, "select": ["assistant_id", "name"]},
        "select config": {"metadata": {"kind": "test"}, "select": ["config", "context", "version"]},
        "bad select": {"select": ["colour"]},
        "bad sort": {"sort_by": "colour"},
        "bad order": {"sort_by": "name", "sort_order": "up"},
        "limit 0": {"limit": 0},
        "limit 1000": {"limit": 1000, "metadata": {"kind": "test"}},
        "limit 1001": {"limit": 1001},
        "offset -1": {"offset": -1},
        "unknown graph": {"graph_id": "nobody"},
        "nulls": {"metadata": None, "graph_id": None, "limit": 1, "offset": None, "name": None},
    }
    for name, body in searches.items():
        talk.ask(f"search: {name}", "POST", "/assistants/search", body)
    for sort in FIELDS:
        body = {"metadata": {"kind": "test"}, "sort_by": sort}
        talk.ask(f"search: sort {sort}", "POST", "/assistants/search", body)
    talk.ask("count", "POST", "/assistants/count", {"metadata": {"kind": "test"}})
    talk.ask("count by graph", "POST", "/assistants/count", {"graph_id": "weather"})
    talk.ask("count by name", "POST", "/assistants/count", {"name": "kin"})
    talk.ask("count none", "POST", "/assistants/count", {"graph_id": "nobody"})


def _graphs(talk: Talk, one: str) -> None:
    for path in ("graph", "graph?xray=true", "graph?xray=1", "graph?xray=0", "graph?xray=-1", "subgraphs",
                 "subgraphs?recurse=true", "subgraphs/below", "subgraphs/none", "schemas"):  # fmt: skip
        talk.ask(path, "GET", f"/assistants/{one}/{path}")
    for graph in ("outer", "tooled", "careful", "one"):
        id = str(uuid.uuid5(GRAPHS, graph))
        talk.ask(f"default of {graph}", "GET", f"/assistants/{id}")
        for path in ("graph", "graph?xray=true", "subgraphs", "subgraphs?recurse=true", "subgraphs/inner", "schemas"):
            talk.ask(f"{graph}: {path}", "GET", f"/assistants/{id}/{path}")
    talk.ask("graph by name", "GET", "/assistants/outer/graph")
    for path in ("graph", "subgraphs", "schemas"):
        talk.ask(f"{path} of unknown", "GET", f"/assistants/{UNKNOWN}/{path}")


def _change(talk: Talk, one: str) -> None:
    talk.ask("patch", "PATCH", f"/assistants/{one}", {"name": "kinder", "metadata": {"more": True}})
    talk.ask("patch config", "PATCH", f"/assistants/{one}", {"config": {"configurable": {"flavour": "lime"}}})
    talk.ask("patch context", "PATCH", f"/assistants/{one}", {"context": {"tone": "cold"}})
    talk.ask("patch nothing", "PATCH", f"/assistants/{one}", {})
    talk.ask("patch graph", "PATCH", f"/assistants/{one}", {"graph_id": "one"})
    talk.ask("patch unknown graph", "PATCH", f"/assistants/{one}", {"graph_id": "nobody"})
    talk.ask("patch unknown", "PATCH", f"/assistants/{UNKNOWN}", {"name": "x"})
    talk.ask("versions", "POST", f"/assistants/{one}/versions", {})
    talk.ask("versions: metadata", "POST", f"/assistants/{one}/versions", {"metadata": {"more": True}, "limit": 2})
    talk.ask("versions: page", "POST", f"/assistants/{one}/versions", {"limit": 1, "offset": 1})
    talk.ask("versions: none", "POST", f"/assistants/{UNKNOWN}/versions", {})
    talk.ask("latest", "POST", f"/assistants/{one}/latest", {"version": 1})
    talk.ask("latest: none", "POST", f"/assistants/{one}/latest", {"version": 99})
    talk.ask("latest: bad", "POST", f"/assistants/{one}/latest", {"version": "x"})
    talk.ask("latest: unknown", "POST", f"/assistants/{UNKNOWN}/latest", {"version": 1})
    talk.ask("get after latest", "GET", f"/assistants/{one}")


def _used(talk: Talk) -> None:
    made = talk.look(
        "POST", "/assistants", {"graph_id": "weather", "config": {"configurable": {"flavour": "fig"}}, "name": "used"}
    )
    body = {"assistant_id": made["assistant_id"], "input": {"messages": "hi"}}
    talk.ask("run by an assistant", "POST", "/runs/wait", body)
    thread = talk.thread(metadata={"assistant_id": made["assistant_id"]})
    talk.ask("delete with threads", "DELETE", f"/assistants/{made['assistant_id']}?delete_threads=true")
    talk.ask("its thread", "GET", f"/threads/{thread}")
