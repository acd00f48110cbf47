"""What of a `langgraph.json` is not obeyed, key by key, and what there is instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, cast

from runyard.headers import NEVER

_OF_IMAGES = (
    "python_version", "node_version", "api_version", "_INTERNAL_docker_tag", "base_image", "image_distro",
    "pip_config_file", "pip_installer", "dockerfile_lines", "keep_pkg_tools",
)  # fmt: skip
_NOTHING = "there is nothing of that kind to switch off"

_REASONS: dict[str, tuple[Literal["ok", "warning"], str]] = {
    **dict.fromkeys(_OF_IMAGES, ("ok", "it is for building images, of which nothing is done here")),
    "store.ttl.sweep_limit": ("ok", "a sweep removes all that has expired, in small batches"),
    "checkpointer.ttl.sweep_limit": ("ok", "a sweep removes all that has expired, in small batches"),
    "checkpointer.path": ("warning", "states are kept in the server's database; a saver of one's own is not used"),
    "checkpointer.serde": ("warning", "states are kept as plain JSON; the classes are those of the graph's own code"),
    "encryption": ("warning", "what is stored is not encrypted by the server: encrypt the disk, or the database"),
    "ui": ("warning", "components of user interfaces are not served"),
    "ui_config": ("warning", "components of user interfaces are not served"),
    "http.logging_headers": ("ok", "headers are never logged"),
    "http.disable_mcp": ("ok", _NOTHING),
    "http.disable_a2a": ("ok", _NOTHING),
    "http.disable_ui": ("ok", _NOTHING),
}  # fmt: skip

_OBEYED: dict[str, frozenset[str]] = {
    "": frozenset({"$schema", "graphs", "dependencies", "env", "store", "checkpointer", "http", "auth", "webhooks"}),
    "store": frozenset({"index", "ttl"}),
    "store.index": frozenset({"embed", "dims", "fields"}),
    "store.ttl": frozenset({"default_ttl", "refresh_on_read", "sweep_interval_minutes"}),
    "checkpointer": frozenset({"ttl"}),
    "checkpointer.ttl": frozenset({"strategy", "default_ttl", "sweep_interval_minutes"}),
    "auth": frozenset({"path", "disable_studio_auth", "cache", "openapi"}),
    "auth.cache": frozenset({"cache_keys", "ttl_seconds", "max_size"}),
    "auth.openapi": frozenset({"securitySchemes", "security", "paths"}),
    "webhooks": frozenset({"env_prefix", "url", "headers"}),
    "webhooks.url": frozenset({
        "require_https", "allowed_domains", "allowed_ports", "max_url_length", "disable_loopback",
    }),
    "http": frozenset({
        "app", "cors", "mount_prefix", "enable_custom_route_auth", "middleware_order", "disable_assistants",
        "disable_threads", "disable_runs", "disable_store", "disable_meta", "disable_webhooks", "configurable_headers",
    }),
    "http.configurable_headers": frozenset({"includes", "excludes", "include", "exclude"}),
    "http.cors": frozenset({
        "allow_origins", "allow_origin_regex", "allow_methods", "allow_headers", "allow_credentials", "expose_headers",
        "max_age",
    }),
}  # fmt: skip
_OF_A_GRAPH = frozenset({"path", "description"})


class Remark(NamedTuple):
    """One key that is not obeyed. A `warning` is for what changes how the server behaves."""

    key: str
    weight: Literal["ok", "warning"]
    why: str


def remarks(document: Mapping[str, Any]) -> list[Remark]:
    """What of the file is not obeyed, in the order in which it stands there."""
    return [*_of_keys("", document), *_of_graphs(document.get("graphs")), *_of_values(document)]


def _of_keys(place: str, document: Mapping[str, Any]) -> Iterator[Remark]:
    obeyed = _OBEYED[place]
    for key, value in document.items():
        full = f"{place}.{key}" if place else key
        if value is None or value is False:
            continue  # what is not asked for
        if key in obeyed:
            if full in _OBEYED and isinstance(value, dict):
                yield from _of_keys(full, cast("dict[str, Any]", value))
        elif full in _REASONS:
            yield Remark(full, *_REASONS[full])
        else:
            yield _unknown(full, key, obeyed)


def _of_graphs(graphs: Any) -> Iterator[Remark]:
    for id, graph in cast("dict[str, Any]", graphs or {}).items():
        if isinstance(graph, dict):
            for key in cast("dict[str, Any]", graph):
                if key not in _OF_A_GRAPH:
                    yield _unknown(f"graphs.{id}.{key}", key, _OF_A_GRAPH)


def _of_values(document: Mapping[str, Any]) -> Iterator[Remark]:
    """Keys that are obeyed, but not with every value."""
    if _at(document, "http", "middleware_order") == "auth_first":
        yield Remark("http.middleware_order", "warning", "middleware of http.app comes first, always")
    for key in ("includes", "include"):
        named: list[str] = _at(document, "http", "configurable_headers", key) or []
        never = [name for name in named if name.lower() in NEVER]
        if never:
            why = "is never copied: it would be stored with the run, for all who may read that to see"
            yield Remark(f"http.configurable_headers.{key}", "warning", f"{', '.join(never)} {why}")
    cached = [_at(document, "auth", "cache", key) for key in ("cache_keys", "ttl_seconds")]
    if _at(document, "auth", "cache") is not None and not all(cached):
        why = "nobody is remembered without cache_keys and ttl_seconds: `authenticate` is asked by every request"
        yield Remark("auth.cache", "warning", why)
    if _at(document, "auth", "disable_studio_auth") is False:
        yield Remark(
            "auth.disable_studio_auth", "ok", "there are no keys of Studio: everybody is asked by `authenticate`"
        )
    if _at(document, "webhooks", "url", "disable_loopback") is False:
        yield Remark(
            "webhooks.url.disable_loopback", "warning", "a webhook is a whole URL: one without a host is refused"
        )


def _at(document: Mapping[str, Any], *keys: str) -> Any:
    value: Any = document
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = cast("dict[str, Any]", value).get(key)
    return value


def _unknown(full: str, key: str, known: frozenset[str]) -> Remark:
    near = difflib.get_close_matches(key, known, n=1)
    return Remark(full, "warning", "means nothing to Runyard" + (f"; did you mean {near[0]}?" if near else ""))
