"""What a server tells of itself, in the dialect."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from runyard.api.call import Call
from runyard.api.langgraph import wire
from runyard.api.operation import operation
from runyard.api.problems import Refused

_encode = msgspec.json.Encoder().encode


@operation("System", needs="nothing", query=wire.OK_QUERY, answer=dict[str, Any], errors=(500,))
async def ok(call: Call) -> None:
    """Health Check

    The server answers; with `check_db=1` its database is tried, too.
    """
    tries = call.query(wire.OK_QUERY).check_db and "meta" not in call.api.disabled
    if tries and not (found := await call.api.ready())["ready"]:
        raise Refused(500, "not_ready", "; ".join(found["reasons"]))
    await call.answer(b'{"ok":true,"services":{}}')


@operation("System", needs="nothing", answer=dict[str, Any])
async def info(call: Call) -> None:
    """Server Information

    Its version, and what it can do.
    """
    about = {
        "version": call.api.version,
        "langgraph_py_version": _langgraph(),
        "flags": {"assistants": True, "crons": True, "langsmith": False, "strict_resume": True,
                  "stream_namespaces": True},
        "host": {"kind": "runyard"},
        "metadata": {},
    }  # fmt: skip
    await call.answer(_encode(about))


@operation("System", needs="read", query=wire.METRICS_QUERY, answer=str, media="text/plain")
async def metrics(call: Call) -> None:
    """System Metrics

    Counts and gauges in the Prometheus text format; with `format=json` how many runs wait, execute and may.
    """
    if call.query(wire.METRICS_QUERY).format == "json":
        await call.answer(_encode(await _queue(call)))
        return
    content_type, text = await call.api.metrics()
    await call.page(text, [(b"content-type", content_type)])


async def _queue(call: Call) -> dict[str, Any]:
    standing = await call.api.storage.standing(call.api.verbs.clock.now())
    counts = {"pending": 0, "running": 0}
    for (_, status), number in standing.active.items():
        counts[status] += number
    oldest = max((wait for _, wait in standing.ready.values()), default=0)
    executing, free = call.api.slots()
    return {
        "queue": {
            "n_pending": counts["pending"], "n_running": counts["running"],
            "pending_runs_wait_time_max_secs": oldest / 1e6,
        },
        "workers": {
            "max": executing + free, "active": executing, "available": free,
        },
    }  # fmt: skip


def _langgraph() -> str | None:
    """The version of LangGraph here; None where it is not installed: function agents need none."""
    try:
        return version("langgraph")
    except PackageNotFoundError:
        return None
