"""What the `langgraph.json` files among the targets say about the server, beside their graphs: who may do what, the
user's own routes, which origins may call, what is not served, how long things are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from runyard.api.gate import Cors
from runyard.errors import InvalidInput
from runyard.headers import Copied
from runyard.items import Lasting
from runyard.outbound.guard import MAX_URL, Bounds, parse_domains
from runyard.runtime.index import Index
from runyard.runtime.langgraph import manifest as files
from runyard.runtime.langgraph.manifest import AuthCache, Manifest, Minutes, OpenApi
from runyard.runtime.langgraph.remarks import Remark, remarks
from runyard.runtime.load import bad_target, make_index
from runyard.telemetry import say
from runyard.threads import Expiry

_SECONDS_PER_MINUTE = 60.0

S = TypeVar("S", bound=msgspec.Struct)
"""Settings."""


@dataclass(frozen=True)
class Deployment:
    """What is asked for, by all files together. Times are seconds; None and 0 ask for nothing."""

    app: Any = None
    """The user's ASGI app."""
    app_place: str = ""
    auth: Any = None
    """An `Auth` object of LangGraph's SDK."""
    auth_place: str = ""
    auth_cache: AuthCache | None = None
    auth_openapi: OpenApi | None = None
    custom_route_auth: bool = False
    cors: Cors | None = None
    copied: Copied | None = None
    """Which headers of requests agents are told."""
    disabled: frozenset[str] = frozenset()
    webhooks: bool = True
    webhook_https_only: bool = False
    webhook_bounds: Bounds = field(default_factory=Bounds)
    webhook_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What goes with every webhook: secrets, as a rule."""
    prefix: str = ""
    lasting: Lasting = field(default_factory=Lasting)
    index: Index | None = None
    """What makes vectors of texts, for searches of the store by meaning."""
    thread_retention: float | None = None
    thread_retention_strategy: Expiry | None = None
    sweep_interval: float | None = None


@dataclass(frozen=True)
class Source:
    """One file: the target that names it, where it is, and what stands in it."""

    target: str
    folder: Path
    manifest: Manifest
    remarks: Sequence[Remark]


def sources(targets: Sequence[str], base: Path) -> list[Source]:
    """The files among the targets. Imports nothing.

    Raises:
        InvalidInput: one cannot be read, or does not fit.
    """
    found: list[Source] = []
    for target in targets:
        if files.is_manifest(target):
            manifest, document = files.read(target, base / target)
            found.append(Source(target, (base / target).resolve().parent, manifest, remarks(document)))
    return found


def report(found: Sequence[Source]) -> None:
    """Logs what is not obeyed, by its key."""
    for source in found:
        for remark in source.remarks:
            if remark.weight == "warning":
                say("langgraph.json key not obeyed", file=source.target, key=remark.key, why=remark.why)


def deployment(found: Sequence[Source], *, serves: bool = True) -> Deployment:
    """What the files ask for. Puts their environments and folders in place for the whole process, and imports the
    user's embedding, and the user's app and auth where the server `serves` them.

    Raises:
        InvalidInput: something that is named is not there, or two files name different things of a kind.
        Unsupported: something that it needs is not installed.
    """
    for source in found:
        files.put_in_place(source.target, source.folder, source.manifest)
    http = [source.manifest.http for source in found if source.manifest.http is not None]
    item_ttl = _one(found, "store.ttl", lambda one: one.store and one.store.ttl)
    thread_ttl = _one(found, "checkpointer.ttl", lambda one: one.checkpointer and one.checkpointer.ttl)
    sweeps = [ttl[1].sweep_interval_minutes for ttl in (item_ttl, thread_ttl) if ttl is not None]
    app = _one(found, "http.app", lambda one: one.http and one.http.app) if serves else None
    index = _one(found, "store.index", lambda one: one.store and one.store.index)
    auth = _one(found, "auth.path", lambda one: one.auth and one.auth.path) if serves else None
    hooks = _one(found, "webhooks", lambda one: one.webhooks)
    return Deployment(
        app=None if app is None else _app(*app),
        app_place="" if app is None else f"http.app {app[1]}",
        auth=None if auth is None else files.object_at(auth[0].target, auth[0].folder, "auth.path", auth[1]),
        auth_place="" if auth is None else f"auth {auth[1]}",
        auth_cache=_value(_one(found, "auth.cache", lambda one: one.auth and one.auth.cache)),
        auth_openapi=_value(_one(found, "auth.openapi", lambda one: one.auth and one.auth.openapi)),
        custom_route_auth=any(one.enable_custom_route_auth for one in http),
        cors=_cors(_one(found, "http.cors", lambda one: one.http and one.http.cors)),
        copied=_copied(
            _one(found, "http.configurable_headers", lambda one: one.http and one.http.configurable_headers)
        ),
        disabled=frozenset[str]().union(*(one.disabled for one in http)),
        webhooks=not any(one.disable_webhooks for one in http),
        webhook_https_only=hooks is not None and hooks[1].url.require_https,
        webhook_bounds=_bounds(hooks),
        webhook_headers={} if hooks is None else files.webhook_headers(hooks[0].target, hooks[1]),
        prefix=_prefix(_one(found, "http.mount_prefix", lambda one: one.http and one.http.mount_prefix)),
        lasting=Lasting() if item_ttl is None else Lasting(item_ttl[1].default_ttl, item_ttl[1].refresh_on_read),
        index=None if index is None else make_index(index[0].target, index[0].folder, index[1]),
        thread_retention=None if thread_ttl is None else _seconds(thread_ttl[1].default_ttl),
        thread_retention_strategy=None if thread_ttl is None else thread_ttl[1].strategy,
        sweep_interval=min(filter(None, map(_seconds, sweeps)), default=None),
    )


def _one(found: Sequence[Source], key: str, look: Callable[[Manifest], Any]) -> tuple[Source, Any] | None:
    """What one of the files says about something, and which: two that differ are a contradiction."""
    said = [(source, value) for source in found if (value := look(source.manifest)) is not None]
    for source, value in said[1:]:
        if value != said[0][1] or (isinstance(value, str) and source.folder != said[0][0].folder):
            raise bad_target(source.target, f"{key} is another one than in {said[0][0].target}: a server has one")
    return said[0] if said else None


def _value(said: tuple[Source, Any] | None) -> Any:
    return None if said is None else said[1]


def _app(source: Source, where: str) -> Any:
    app: object = files.object_at(source.target, source.folder, "http.app", where)
    if not callable(app):
        raise bad_target(source.target, f"http.app: {where} is {type(app).__name__}, no ASGI app")
    return app


def _cors(said: tuple[Source, Any] | None) -> Cors | None:
    if said is None:
        return None
    source, asked = said[0], cast(files.Cors, said[1])
    try:
        re.compile(asked.allow_origin_regex or "")
    except re.error as error:
        raise bad_target(source.target, f"http.cors.allow_origin_regex is no regular expression: {error}") from None
    defaults = Cors()
    return Cors(
        origins=tuple(asked.allow_origins),
        pattern=asked.allow_origin_regex,
        methods=defaults.methods if asked.allow_methods is None else tuple(asked.allow_methods),
        headers=defaults.headers if asked.allow_headers is None else tuple(asked.allow_headers),
        exposed=tuple(asked.expose_headers),
        credentials=asked.allow_credentials,
        max_age=asked.max_age,
    )


def _copied(said: tuple[Source, files.Headers] | None) -> Copied | None:
    if said is None:
        return None
    asked = said[1]
    return Copied((*asked.includes, *asked.include), (*asked.excludes, *asked.exclude))


def _bounds(said: tuple[Source, files.Webhooks] | None) -> Bounds:
    if said is None:
        return Bounds()
    asked = said[1].url
    try:
        names, below = parse_domains(asked.allowed_domains)
    except InvalidInput as error:
        raise bad_target(said[0].target, f"webhooks.url.allowed_domains: {error.message}") from None
    return Bounds(names, below, frozenset(asked.allowed_ports), min(asked.max_url_length or MAX_URL, MAX_URL))


def _prefix(said: tuple[Source, str] | None) -> str:
    return "" if said is None else said[1].rstrip("/")


def _seconds(minutes: Minutes | None) -> float | None:
    return None if minutes is None else minutes * _SECONDS_PER_MINUTE


def settled(settings: S, asked: Deployment) -> S:
    """The settings, of which those that nobody has changed are as `langgraph.json` wants them."""
    names = ("thread_retention", "thread_retention_strategy", "sweep_interval")
    wanted = {name: getattr(asked, name) for name in names}
    defaults = type(settings)()
    changes = {
        name: value
        for name, value in wanted.items()
        if value is not None and getattr(settings, name) == getattr(defaults, name)
    }
    return msgspec.structs.replace(settings, **changes)


def is_guarded(targets: Sequence[str], base: Path) -> bool:
    """Whether a `langgraph.json` among the targets says who may do what.

    Raises:
        InvalidInput: it cannot be read.
    """
    return any(source.manifest.auth is not None for source in sources(targets, base))
