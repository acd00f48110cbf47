"""Finding graphs: in files and folders, by name, in `langgraph.json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runyard.errors import InvalidInput
from runyard.runtime.load import load_targets

GRAPH = """
from typing import TypedDict

from langgraph.graph import START, StateGraph


class State(TypedDict):
    n: int


def one(state: State):
    return {"n": state["n"] + 1}


builder = StateGraph(State).add_node("one", one).add_edge(START, "one")
"""


def ids(*targets: str, base: Path) -> list[str]:
    return [loaded.agent.agent_id for loaded in load_targets(targets, base)]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GRAPH + text)
    return path


def test_graphs_of_a_file_are_agents_under_the_names_of_their_variables(tmp_path: Path) -> None:
    write(tmp_path, "g.py", "first = builder.compile()\nsecond = builder.compile()\n_hidden = builder.compile()\n")
    assert ids("g.py", base=tmp_path) == ["first", "second"]


def test_a_builder_is_one_where_its_graph_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, "g.py", "")
    assert ids("g.py", base=tmp_path) == ["builder"]


def test_a_name_names_graphs_builders_and_factories(tmp_path: Path) -> None:
    text = "_hidden = builder.compile()\ndef make():\n    return builder\n"
    text += "async def late(config):\n    return builder.compile()\n"
    write(tmp_path, "g.py", text)
    found = load_targets(["g.py:_hidden", "g.py:builder", "g.py:make", "g.py:late"], tmp_path)
    assert [loaded.agent.agent_id for loaded in found] == ["_hidden", "builder", "make", "late"]
    assert all(loaded.agent.graph and loaded.agent.nodes == ("one",) for loaded in found)


def test_graphs_and_functions_of_a_folder_are_found_together(tmp_path: Path) -> None:
    write(tmp_path / "agents", "g.py", "chat = builder.compile()\n")
    (tmp_path / "agents" / "f.py").write_text("from runyard import agent\n\n\n@agent\ndef plain():\n    pass\n")
    assert ids("agents", base=tmp_path) == ["plain", "chat"]


def test_limits_are_given_by_graph(tmp_path: Path) -> None:
    write(tmp_path, "g.py", "from runyard import graph\nchat = graph(builder, id='talk', timeout=5, max_attempts=1)\n")
    (loaded,) = load_targets(["g.py"], tmp_path)
    assert (loaded.agent.agent_id, loaded.agent.limits.timeout, loaded.agent.limits.max_attempts) == ("talk", 5, 1)


def test_two_graphs_of_one_name_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "graph = builder.compile()\n")
    write(tmp_path, "b.py", "graph = builder.compile()\n")
    with pytest.raises(InvalidInput, match=r"two agents have the id 'graph'.*another name of the variable"):
        load_targets(["a.py", "b.py"], tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def make():\n    return 5\n", "gave int, not a graph"),
        ("def make():\n    raise OSError('no network')\n", "no network"),
        ("def make(a, b):\n    return builder\n", "neither a config nor a runtime"),
        ("make = 5\n", "make is int, not an agent"),
    ],
)
def test_a_factory_that_makes_none_is_told(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, "g.py", text)
    with pytest.raises(InvalidInput, match=said):
        load_targets(["g.py:make"], tmp_path)


def test_a_langgraph_json_gives_what_it_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("RUNYARD_TEST_HELD", "kept")
    monkeypatch.delenv("RUNYARD_TEST_NEW", raising=False)
    (tmp_path / "lib" / "src").mkdir(parents=True)
    (tmp_path / "lib" / "src" / "runyard_test_helper.py").write_text("NAME = 'helper'\n")
    write(
        tmp_path, "app/g.py", "import runyard_test_helper\ngraph = builder.compile()\ndef make():\n    return builder\n"
    )
    (tmp_path / ".env").write_text(
        '# comment\nRUNYARD_TEST_HELD=lost\nexport RUNYARD_TEST_NEW="a # b"\nRUNYARD_TEST_PLAIN=x # said\n'
    )
    manifest = {
        "graphs": {"chat": "./app/g.py:graph", "made": {"path": "./app/g.py:make", "description": "Made anew."}},
        "dependencies": ["./lib", "some-package"],
        "env": ".env",
    }
    (tmp_path / "langgraph.json").write_text(json.dumps(manifest))
    found = [loaded.agent for loaded in load_targets(["langgraph.json"], tmp_path)]
    assert [(agent.agent_id, agent.description) for agent in found] == [("chat", None), ("made", "Made anew.")]
    try:
        assert (os.environ["RUNYARD_TEST_HELD"], os.environ["RUNYARD_TEST_NEW"]) == ("kept", "a # b")
        assert os.environ["RUNYARD_TEST_PLAIN"] == "x"
    finally:
        for name in ("RUNYARD_TEST_NEW", "RUNYARD_TEST_PLAIN"):
            os.environ.pop(name, None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "langgraph.json"),
        ('{"graphs": 5}', r"\$.graphs"),
        ('{"graphs": {"a": "g.py"}}', "graphs.a is 'g.py'"),
        ('{"graphs": {"a": "gone.py:graph"}}', "gone.py does not exist"),
        ('{"graphs": {}, "env": "gone"}', "env names"),
        ('{"graphs": {}, "dependencies": ["./gone"]}', "dependencies names"),
    ],
)
def test_a_langgraph_json_that_cannot_be_used_is_told(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "langgraph.json").write_text(text)
    with pytest.raises(InvalidInput, match=said):
        load_targets(["langgraph.json"], tmp_path)


def test_a_schema_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    text = "graph = builder.compile()\ngraph.get_output_jsonschema = lambda: 1 / 0\n"
    write(tmp_path, "g.py", text)
    (loaded,) = [found for found in load_targets(["g.py"], tmp_path) if found.agent.agent_id == "graph"]
    assert loaded.agent.metadata["schema_problems"] == ["output: ZeroDivisionError: division by zero"]
    assert loaded.agent.schemas.output == {}


def test_langgraph_is_imported_only_where_a_graph_is(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("from runyard import agent\n\n\n@agent\ndef plain():\n    pass\n")
    script = (
        "import sys; from pathlib import Path; from runyard.server import create_app; "
        "from runyard.runtime.load import load_targets; "
        f"load_targets(['f.py'], Path({str(tmp_path)!r})); "
        "print(sorted(name for name in sys.modules if name.startswith(('langgraph', 'langchain'))))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"


def test_a_graph_without_langgraph_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_text('{"graphs": {"chat": "./g.py:chat"}}')
    script = (
        "import sys; sys.modules['langgraph'] = None; from pathlib import Path; "
        "from runyard.runtime.load import load_targets; "
        f"load_targets(['langgraph.json'], Path({str(tmp_path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode != 0
    assert "pip install 'runyard[langgraph]'" in done.stderr
