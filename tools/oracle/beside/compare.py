"""What two servers answered: made alike where it must differ, and laid side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from tools.oracle.beside.talk import Answer

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX = re.compile(r"\b[0-9a-f]{32}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?P<zone>Z|\+00:00)?")
_MILLISECONDS = 1_000_000_000_000


class Difference(NamedTuple):
    """Where two answers differ, and how."""

    step: str
    place: str
    ours: str
    theirs: str


def differences(step: str, ours: Answer, theirs: Answer) -> Iterator[Difference]:
    """All of one step."""

    def told(place: str, one: Any, other: Any) -> Difference:
        return Difference(step, place, _short(one), _short(other))

    if ours.status != theirs.status:
        yield told("status", f"{ours.status} {ours.body}", f"{theirs.status} {theirs.body}")
        return
    heads = _plain(ours.headers, ours.known), _plain(theirs.headers, theirs.known)
    for name in sorted({*ours.headers, *theirs.headers}):
        if heads[0].get(name) != heads[1].get(name):
            yield told(f"header.{name}", heads[0].get(name), heads[1].get(name))
    mine, other = _plain(ours.body, ours.known), _plain(theirs.body, theirs.known)
    if ours.status >= 400:
        mine, other = _refusal(mine), _refusal(other)
    pairs = _streams(mine, other) if _is_stream(mine) and _is_stream(other) else _within("body", mine, other)
    for place, one, another in pairs:
        yield told(place, one, another)


def _refusal(body: Any) -> Any:
    """Only the shape of a refusal: its words are each server's own."""
    if isinstance(body, dict) and isinstance(body.get("detail"), str):
        return {"detail": "..."}
    return body


def _is_stream(body: Any) -> bool:
    return isinstance(body, list) and all(isinstance(one, dict) and "data" in one and "event" in one for one in body)


def _streams(ours: list[Any], theirs: list[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Names in their order, but for `end`, which only ours has; then the n-th event of each name."""
    ours = [one for one in ours if one["event"] != "end"]
    names = [one["event"] for one in ours], [one["event"] for one in theirs]
    if names[0] != names[1]:
        yield "events", " ".join(names[0]), " ".join(names[1])
    for name in sorted({*names[0]} & {*names[1]}):
        pairs = zip(*([one for one in side if one["event"] == name] for side in (ours, theirs)), strict=False)
        for number, (one, other) in enumerate(pairs):
            yield from _within(f"{name}[{number}]", one["data"], other["data"])


def _within(place: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            if name not in theirs or name not in ours:
                yield f"{place}.{name}", ours.get(name, "(absent)"), theirs.get(name, "(absent)")
            else:
                yield from _within(f"{place}.{name}", ours[name], theirs[name])
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            yield f"{place}.length", f"{len(ours)}: {ours}", f"{len(theirs)}: {theirs}"
        for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from _within(f"{place}[{number}]", one, other)
    elif type(ours) is not type(theirs) or ours != theirs:
        yield place, ours, theirs


def _plain(value: Any, known: dict[str, str]) -> Any:
    """With ids, times and what is made of them by kind only."""
    if isinstance(value, dict):
        return {_text(name, known): _plain(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one, known) for one in value]
    if isinstance(value, str):
        return _text(value, known)
    if isinstance(value, int | float) and not isinstance(value, bool) and value > _MILLISECONDS:
        return "<milliseconds>"
    return value


def _text(value: str, known: dict[str, str]) -> str:
    value = _UUID.sub(lambda found: f"<{known.get(found[0], 'uuid')}>", value)
    value = _TIME.sub(lambda found: f"<time{found['zone'] or ''}>", value)
    return _HEX.sub("<hex>", value)


def _short(value: Any) -> str:
    text = " ".join(value.split("\n")) if isinstance(value, str) else repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
