"""A server with the graphs that search by meaning, and what they do there."""

from __future__ import annotations

import json
from pathlib import Path

from live_server import Server

GRAPHS = Path(__file__).with_name("meaning_graphs.py")


def indexed(folder: Path, embed: str) -> str:
    """Their `langgraph.json` with an index."""
    manifest = {
        "graphs": {"means": f"{GRAPHS}:means", "kept": f"{GRAPHS}:kept"},
        "store": {"index": {"embed": f"{GRAPHS}:{embed}", "dims": 32, "fields": ["text"]}},
    }
    (folder / "langgraph.json").write_text(json.dumps(manifest))
    return str(folder / "langgraph.json")


async def searches_by_meaning(s: Server, here: int) -> bool:
    """They do what LangGraph's stores do; whether that is in the process `here`."""
    run = await s.run(agent_id="means", input={"log": []})
    process, *log = (await s.wait(run["run_id"]))["values"]["log"]
    assert log == [
        [["other", 1.0], ["tea", 1.0], ["sea", 0.5]],
        [["sea", 0.5]],
        4,
        None,
        [["sea", 1.0], ["other", 0.5]],
        [["other", 0.0]],
        [["tea", 1.0], ["sea", 0.0]],
    ]
    run = await s.run(agent_id="kept", input={"log": []})
    log = (await s.wait(run["run_id"]))["values"]["log"]
    assert log == [[["sea", 1.0]], [["tea", 0.707], ["sea", 0.0]]]
    return process == here
