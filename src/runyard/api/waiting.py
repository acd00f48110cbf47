"""Answers that come when a run has ended.

Most waits are short, and then nothing here costs more than one timer that never fires. A wait that lasts is kept alive
by a newline now and then, which is valid before JSON; from the first one on, the client's leaving is noticed too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from runyard.api import answers
from runyard.api.call import Call
from runyard.checkpoints import Question, State
from runyard.runs import Run

_LASTING = [(b"content-type", b"application/json"), (b"x-accel-buffering", b"no")]


Render = Callable[[Run, State, Sequence[Question]], bytes]
"""What makes JSON text of how a run has ended."""


async def answer_when_done(
    call: Call, run: Run, *, cancels: bool, begun: bool = False, render: Render = answers.waited
) -> None:
    """Waits until the run has ended and answers with its final state.

    `cancels`: the run is to end when the client leaves and nobody else takes its place. `begun`: it executes since
    just now.
    """
    verbs = call.api.verbs
    vigil = _Vigil(call)
    try:
        with verbs.attach(run.run_id):
            result = await verbs.wait_run(call.owner, run.run_id, begun=run if begun else None)
    except asyncio.CancelledError:
        if not vigil.left:
            raise
        vigil.task.uncancel()
        if cancels:
            verbs.disconnected(call.owner, run.run_id)
        return
    finally:
        await vigil.end()
    body = render(result.run, result.state, result.questions)
    if call.started:
        await call.finish(body)
    else:
        await call.answer(body)


class _Vigil:
    """Keeps the connection of a lasting wait alive, and ends the wait when the client has left (`left`)."""

    def __init__(self, call: Call) -> None:
        task: asyncio.Task[Any] | None = asyncio.current_task()
        assert task is not None  # a coroutine that awaits runs in a task
        self.task = task
        self.left = False
        self._call = call
        self._keeper: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(call.api.keepalive, self._begin)

    def _begin(self) -> None:
        self._keeper = asyncio.ensure_future(self._keep())

    async def _keep(self) -> None:
        gone = asyncio.ensure_future(self._call.gone())
        try:
            await self._call.begin(list(_LASTING))
            while True:
                await self._call.write(b"\n")
                await asyncio.wait((gone,), timeout=self._call.api.keepalive)
                if gone.done():
                    self.left = True
                    self.task.cancel()
                    return
        finally:
            gone.cancel()

    async def end(self) -> None:
        """Nothing is written and nobody is cancelled after this."""
        self._timer.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait((self._keeper,))
