"""What a server tells of itself: that it answers, that it is ready, what it is."""

from __future__ import annotations

import msgspec

from runyard.api import answers
from runyard.api.call import Call
from runyard.api.operation import operation

PROTOCOL_VERSION = "0.1.6"


@operation("System", needs="nothing", answer=answers.Ok)
async def ok(call: Call) -> None:
    """The server answers"""
    await call.answer(b'{"ok":true}')


@operation("System", needs="nothing", answer=answers.Readiness, errors=(503,))
async def ready(call: Call) -> None:
    """The server takes runs

    503 with reasons where it does not. `unoffered` names agents whose pending runs no worker can execute.
    """
    readiness = answers.Readiness(**await call.api.ready())
    await call.answer(msgspec.json.encode(readiness), 200 if readiness.ready else 503)


@operation("System", needs="read", answer=str, media="text/plain")
async def metrics(call: Call) -> None:
    """Metrics

    Counts and gauges in the Prometheus text format.
    """
    content_type, text = await call.api.metrics()
    await call.page(text, [(b"content-type", content_type)])


@operation("System", needs="nothing", answer=answers.Info)
async def info(call: Call) -> None:
    """What this server is"""
    api = call.api
    about = answers.Info(name="runyard", version=api.version, protocol=PROTOCOL_VERSION, agents=len(api.verbs.agents))
    await call.answer(msgspec.json.encode(about))
