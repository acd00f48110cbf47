"""The store: items put, got, searched, deleted; namespaces."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk


def script(talk: Talk) -> None:
    puts: dict[str, Any] = {
        "item": {"namespace": ["beside", "a"], "key": "k1", "value": {"n": 1, "tag": "x"}},
        "again": {"namespace": ["beside", "a"], "key": "k1", "value": {"n": 2, "tag": "x"}},
        "second": {"namespace": ["beside", "a"], "key": "k2", "value": {"n": 3, "tag": "y"}},
        "deeper": {"namespace": ["beside", "b", "c"], "key": "k3", "value": {"deep": {"n": 1}, "list": [1]}},
        "no namespace": {"namespace": [], "key": "k", "value": {}},
        "empty label": {"namespace": ["beside", ""], "key": "k", "value": {}},
        "dotted label": {"namespace": ["a.b"], "key": "k", "value": {}},
        "reserved": {"namespace": ["langgraph", "x"], "key": "k", "value": {}},
        "empty key": {"namespace": ["beside", "e"], "key": "", "value": {}},
        "text value": {"namespace": ["beside"], "key": "k", "value": "x"},
        "null value": {"namespace": ["beside"], "key": "k", "value": None},
        "no key": {"namespace": ["beside"], "value": {}},
        "number in namespace": {"namespace": [1], "key": "k", "value": {}},
        "ttl": {"namespace": ["beside", "t"], "key": "k", "value": {}, "ttl": 10},
        "no index": {"namespace": ["beside", "i"], "key": "k", "value": {}, "index": False},
        "nulls": {"namespace": ["beside", "n"], "key": "k", "value": {}, "index": None, "ttl": None},
    }
    for name, body in puts.items():
        talk.ask(f"put: {name}", "PUT", "/store/items", body)
    for query in ("namespace=beside.a&key=k1", "namespace=beside&namespace=a&key=k1", "namespace=beside.a&key=none",
                  "key=k1", "namespace=beside.a", "namespace=&key=k1",
                  "namespace=beside.t&key=k&refresh_ttl=true"):  # fmt: skip
        talk.ask(f"get: {query}", "GET", f"/store/items?{query}")
    _search(talk)
    for name, body in (("item", {"namespace": ["beside", "a"], "key": "k2"}),
                       ("none", {"namespace": ["x"], "key": "y"}),
                       ("no key", {"namespace": ["beside"]}), ("no namespace", {"key": "k1"})):  # fmt: skip
        talk.ask(f"delete: {name}", "DELETE", "/store/items", body)
    talk.ask("deleted", "GET", "/store/items?namespace=beside.a&key=k2")


def _search(talk: Talk) -> None:
    here: dict[str, Any] = {"namespace_prefix": ["beside", "a"]}
    searches: dict[str, Any] = {
        "prefix": here, "all": {"namespace_prefix": ["beside"]}, "nothing": {"namespace_prefix": ["nothing"]},
        "no prefix": {"limit": 1}, "null prefix": {"namespace_prefix": None, "limit": 1},
        "filter": {**here, "filter": {"tag": "y"}}, "filter eq": {**here, "filter": {"n": {"$eq": 2}}},
        "filter gt": {**here, "filter": {"n": {"$gt": 2}}}, "filter lte": {**here, "filter": {"n": {"$lte": 2}}},
        "filter ne": {**here, "filter": {"tag": {"$ne": "x"}}}, "bad filter": {**here, "filter": {"n": {"$x": 1}}},
        "text filter": {**here, "filter": "x"}, "limit 1": {**here, "limit": 1},
        "page": {**here, "limit": 1, "offset": 1}, "limit 0": {**here, "limit": 0},
        "limit 1001": {**here, "limit": 1001}, "empty label": {"namespace_prefix": [""]},
    }  # fmt: skip
    for name, body in searches.items():
        talk.ask(f"search: {name}", "POST", "/store/items/search", body)
    for name, body in (("all", {"prefix": ["beside"]}), ("depth", {"prefix": ["beside"], "max_depth": 1}),
                       ("depth 0", {"prefix": ["beside"], "max_depth": 0}), ("suffix", {"suffix": ["c"]}),
                       ("any", {"prefix": ["beside", "*", "c"]}), ("limit", {"prefix": ["beside"], "limit": 1}),
                       ("page", {"prefix": ["beside"], "limit": 1, "offset": 1}), ("nothing", {"prefix": ["no"]}),
                       ("limit 0", {"limit": 0})):  # fmt: skip
        talk.ask(f"namespaces: {name}", "POST", "/store/namespaces", body)
