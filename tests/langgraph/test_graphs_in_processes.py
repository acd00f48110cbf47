"""Graphs in a process of their own. That they do there all that the examples do is shown with those."""

from __future__ import annotations

import os
from pathlib import Path

import httpx2
import pytest
from indexed_graphs import indexed, searches_by_meaning
from live_server import Server, play
from test_chores import told_and_changed
from test_loopback import asks_and_streams

from runyard.errors import AgentFailed
from runyard.server import create_app
from runyard.settings import Settings

GRAPHS, ASKED, ASKING = (
    Path(__file__).with_name(name) for name in ("process_graphs.py", "chore_graphs.py", "loopback_graphs.py")
)


@pytest.mark.parametrize("processes", [0, 1])
def test_graphs_reach_the_server_and_are_asked_in_their_process(tmp_path: Path, processes: int) -> None:
    async def story() -> None:
        indexes = indexed(tmp_path, "aembed")
        targets = (str(GRAPHS), f"{GRAPHS}:made", str(ASKED), f"{ASKED}:dies", str(ASKING), indexes)
        app = create_app(Settings(agents=targets, processes=processes, database=f"sqlite:///{tmp_path}/runyard.db"))
        await app.engine.start()
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://testserver") as http:
            s = Server(app, http)
            await _looks_back(s)
            run = await s.run(agent_id="stores", input={"log": []})
            assert (await s.wait(run["run_id"]))["values"]["log"] == [{"v": 1}, None, ["blocking", "k"]]
            run = await s.run(agent_id="made", input={"log": []})
            assert (await s.wait(run["run_id"]))["values"]["log"] == [None, ["k"], {"v": 4}]
            for namespace, key, value in (("own", "blocking", 2), ("server", "k", 3), ("server", "blocking", 4)):
                item = (await s.get(f"/store/items?namespace={namespace}&key={key}")).json()
                assert item["value"] == {"v": value}
            assert await searches_by_meaning(s, os.getpid()) is (processes == 0)
            await told_and_changed(s)
            await asks_and_streams(s)
            if processes:
                thread = await s.thread()
                run = await s.run(agent_id="dies", thread_id=thread, input={"n": 1, "log": []})
                await s.wait(run["run_id"])
                with pytest.raises(AgentFailed, match="process"):
                    await s.inspection.state("", thread)
        assert await app.engine.close()

    play(story())


async def _looks_back(s: Server) -> None:
    """It is stopped before its second node, and resumed: it asks for states that it has put, and that it has not."""
    thread = await s.thread()
    wish = {"agent_id": "looks_back", "thread_id": thread, "input": {"log": ["in"]}, "interrupt_before": ["second"]}
    run = await s.run(**wish)
    assert (await s.wait(run["run_id"]))["run"]["status"] == "interrupted"
    (asked,) = (await s.get(f"/threads/{thread}")).json()["interrupts"]
    assert asked
    run = await s.run(agent_id="looks_back", thread_id=thread, command={"resume": True})
    assert (await s.wait(run["run_id"]))["values"]["log"] == ["in", "first", [2, 2, 1, 0]]
