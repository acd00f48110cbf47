"""The example graphs do what they say, all of them on one real server that was started with their `langgraph.json`."""

from __future__ import annotations

import json
import re
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import ap_client
import pytest
from ap_client import RunAsks, Runyard
from ap_client.exceptions import UnprocessableEntityException

from tests.stories.server_process import EXAMPLES, ServerProcess

GRAPHS = EXAMPLES / "graphs"
MANIFEST = json.loads((GRAPHS / "langgraph.json").read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # The folder beside: by their files they are the same agents, or the server would not start.
    made = ServerProcess(tmp_path_factory.mktemp("graphs"), GRAPHS / "langgraph.json", GRAPHS)
    yield made.start()
    made.end()


@pytest.fixture
def ry(server: ServerProcess) -> Iterator[Runyard]:
    with Runyard(server.url) as made:
        yield made


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def conversation(run: Any) -> list[dict[str, Any]]:
    """The messages that a run ended with."""
    return [message.to_dict() for message in run.wait().messages]


def post(server: ServerProcess, path: str, body: Any) -> str:
    """The text of the answer to a request, which is not refused."""
    request = urllib.request.Request(server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read().decode()


def told(server: ServerProcess, **wish: Any) -> list[tuple[str, Any]]:
    """The events of a new run as the wire has them, as (name, data)."""
    events: list[tuple[str, Any]] = []
    name = ""
    for line in post(server, "/runs/stream", wish).splitlines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            events.append((name, json.loads(value)))
    return events


def last_state(events: list[tuple[str, Any]]) -> dict[str, Any]:
    return [data for name, data in events if name == "values"][-1]


def pieces(events: list[tuple[str, Any]], name: str = "messages") -> dict[str, list[dict[str, Any]]]:
    """The pieces of each message, by its id, in the order in which the messages began."""
    found: dict[str, list[dict[str, Any]]] = {}
    for event, data in events:
        if event.split(":")[0] == name:
            for piece in data:
                found.setdefault(piece["id"], []).append(piece)
    return found


def test_the_manifest_lists_every_example(ry: Runyard) -> None:
    files = {path.stem for path in GRAPHS.glob("*.py") if not path.name.startswith("_")}
    assert set(MANIFEST["graphs"]) == files == {agent.agent_id for agent in ry.agents()}


PRINTED = {
    "chat_with_tools": "",
    "supervisor": "In short: A bee visits",
    "human_approval": "approved",
    "map_reduce": "['the']",
    "long_term_memory": "I drink tea",
    "create_agent": "'city': 'Bergen'",
    "deep_agent": "It was seen 1 times",
}
"""What the code for Python at the top of each example prints, in part."""


@pytest.mark.parametrize("name", sorted(MANIFEST["graphs"]))
def test_the_calls_at_the_top_of_each_file_work_as_they_stand_there(
    name: str, server: ServerProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    top, _, _ = (GRAPHS / f"{name}.py").read_text().removeprefix('"""').partition('"""')
    commands, _, code = top.partition("    with ap_client.Runyard()")
    assert f"runyard serve examples/graphs/{name}.py\n" in commands
    bodies = re.findall(r"localhost:8000(/\S+) .*?-d '(.*?)'\n", commands, re.DOTALL)
    assert bodies
    for path, body in bodies:
        if "<id>" not in body:
            answer = post(server, path, json.loads(body))
            assert '"agent_error"' not in answer
            assert '"success"' in answer or name == "human_approval"
    monkeypatch.setenv("RUNYARD_URL", server.url)
    monkeypatch.setattr("builtins.input", lambda prompt: "approve")
    exec(textwrap.dedent("    with ap_client.Runyard()" + code), {"ap_client": ap_client})
    assert PRINTED[name] in capsys.readouterr().out


class TestChatWithTools:
    def test_tokens_come_in_pieces_and_add_up_to_the_messages_of_the_thread(self, server: ServerProcess) -> None:
        wish = said("How many lamps have we got?")
        events = told(server, agent_id="chat_with_tools", stream_mode=["messages", "values"], **wish)
        final = last_state(events)["messages"]
        assert [message["role"] for message in final] == ["user", "assistant", "tool", "assistant"]
        spoken = pieces(events)
        assert list(spoken) == [message["id"] for message in final[1:]]
        for message in final[1:]:
            parts = spoken[message["id"]]
            assert "".join(part["content"] for part in parts) == message["content"]
            if message["role"] == "assistant":
                assert len(parts) >= 5
                assert all(part["delta"] and len(part["content"].split()) < 2 for part in parts)
                assert [part["usage"] for part in parts if "usage" in part] == [message["usage"]]
        asked = [chunk for part in spoken[final[1]["id"]] for chunk in part.get("tool_call_chunks", [])]
        assert json.loads("".join(chunk["args"] for chunk in asked)) == final[1]["tool_calls"][0]["args"]

    def test_the_call_and_its_result_are_messages_of_the_thread(self, ry: Runyard) -> None:
        talk = ry.thread()
        ended = conversation(talk.run("chat_with_tools", **said("How many chairs are there?")))
        talk.refresh()
        shown = [message.to_dict() for message in talk.info.messages or ()]
        assert shown == ended
        _, call, found, answer = shown
        assert [(c["name"], c["args"]) for c in call["tool_calls"]] == [("count_stock", {"item": "chair"})]
        assert (found["name"], found["content"]) == ("count_stock", "4")
        assert found["tool_call_id"] == call["tool_calls"][0]["id"]
        assert answer["content"] == "There are 4 of them in the store room."

    def test_the_conversation_goes_on_and_a_tool_that_fails_is_told(self, ry: Runyard) -> None:
        talk = ry.thread()
        first = conversation(talk.run("chat_with_tools", **said("How many tables?")))
        both = conversation(talk.run("chat_with_tools", **said("How many bells?")))
        assert both[:4] == first
        assert both[6]["status"] == "error"
        assert both[7]["content"] == "Sorry: no item 'bell': the store room has lamp, chair, table"
        third = conversation(talk.run("chat_with_tools", **said("Good morning.")))
        assert [message["role"] for message in third[8:]] == ["user", "assistant"]


class TestSupervisor:
    def test_two_subgraphs_work_and_keep_their_own_state_to_themselves(self, ry: Runyard) -> None:
        run = ry.run("supervisor", **said("Write about bees."))
        values = run.result()
        assert values["text"] == "In short: A bee visits a thousand flowers a day. A hive is warm all winter."
        assert set(values) == {"notes", "text"}
        handed = [message["content"] for message in conversation(run) if message["role"] == "tool"]
        assert handed == ["researcher has taken over", "writer has taken over"]

    def test_events_of_subgraphs_come_for_those_who_ask(self, server: ServerProcess) -> None:
        wish = {"agent_id": "supervisor", "stream_mode": ["updates", "messages"], **said("Write about tides.")}
        events = told(server, **wish, stream_subgraphs=True)
        inside = [(name.partition("|")[2].split(":")[0], *data) for name, data in events if name.startswith("updates|")]
        assert inside == [("researcher", "find_sources"), ("researcher", "take_notes"), ("writer", "write_draft")]
        outside = [name for event, data in events if event == "updates" for name in data]
        assert outside == ["supervisor", "researcher", "supervisor", "writer", "supervisor"]
        (draft,) = pieces(events, "messages|writer").values()
        assert "".join(part["content"] for part in draft).startswith("In short: The moon pulls")
        assert [name for name, _ in told(server, **wish) if "|" in name] == []


LATHE = {"item": "a lathe", "cents": 420_000}


class TestHumanApproval:
    def test_a_small_purchase_asks_nobody(self, ry: Runyard) -> None:
        values = ry.run("human_approval", {"item": "a pen", "cents": 200}).result()
        assert values["decision"] == "approved"

    def test_two_questions_answered_together(self, ry: Runyard, server: ServerProcess) -> None:
        thread = ry.thread()
        run = thread.run("human_approval", LATHE)
        with pytest.raises(RunAsks) as caught:
            run.result()
        assert {one["value"]["role"] for one in caught.value.questions} == {"manager", "finance"}
        assert {one["value"]["question"] for one in run.questions} == {"Buy a lathe for EUR 4200.00?"}
        thread.refresh()
        assert thread.info.status == "interrupted"
        answers = {one["id"]: "approve" for one in run.questions}
        events = told(
            server,
            agent_id="human_approval",
            thread_id=thread.thread_id,
            command={"resume": answers},
            stream_mode="updates",
        )
        nodes = [name for event, data in events if event == "updates" for name in data]
        assert (sorted(nodes[:-1]), nodes[-1]) == (["ask_finance", "ask_manager"], "decide")
        assert thread.refresh()["decision"] == "approved"
        assert thread.info.status == "idle"

    def test_two_questions_answered_one_by_one(self, ry: Runyard) -> None:
        run = ry.thread().run("human_approval", LATHE)
        run.wait()
        asked = {one["value"]["role"]: one["id"] for one in run.questions}
        with pytest.raises(UnprocessableEntityException):
            run.answer("approve")
        run = run.answer("reject", asked["finance"])
        with pytest.raises(RunAsks) as caught:
            run.result()
        assert [(one["id"], one["value"]["role"]) for one in caught.value.questions] == [(asked["manager"], "manager")]
        done = run.answer("approve", asked["manager"]).result()
        assert done["decision"] == "rejected by finance"
        assert done["answers"] == {"finance": "reject", "manager": "approve"}

    def test_an_answer_that_makes_no_sense_is_asked_for_again(self, ry: Runyard) -> None:
        run = ry.thread().run("human_approval", LATHE)
        run.wait()
        run = run.answer("perhaps", run.questions[0]["id"])
        run.wait()
        problems = [one["value"].get("problem") for one in run.questions]
        assert sorted(problems, key=str) == ["'perhaps' is no answer: say approve or reject", None]
        for _ in range(2):
            run = run.answer("approve", run.questions[0]["id"])
            run.wait()
        assert run.result()["decision"] == "approved"


class TestMapReduce:
    def test_each_text_is_counted_by_a_node_of_its_own(self, server: ServerProcess) -> None:
        wish = {"texts": ["the bee and the tree", "the sea", "a bee", ""], "most": 2}
        events = told(server, agent_id="map_reduce", input=wish, stream_mode=["updates", "values"])
        nodes = [name for event, data in events if event == "updates" for name in data]
        assert nodes == ["count_words"] * 4 + ["choose"]
        final = last_state(events)
        assert final["frequent"] == ["the", "bee"]
        assert final["counts"] == {"the": 3, "bee": 2, "and": 1, "tree": 1, "sea": 1, "a": 1}

    def test_many_texts_at_once(self, ry: Runyard) -> None:
        values = ry.run("map_reduce", {"texts": ["a b"] * 100}).result()
        assert values["counts"] == {"a": 100, "b": 100}


class TestLongTermMemory:
    def ask(self, server: ServerProcess, user: str, text: str) -> str:
        """The last thing that is said, on a thread of its own."""
        wish = {"agent_id": "long_term_memory", "context": {"user": user}, "stream_mode": "values", **said(text)}
        return last_state(told(server, **wish))["messages"][-1]["content"]

    def test_another_thread_of_the_same_person_finds_what_was_kept(self, server: ServerProcess, ry: Runyard) -> None:
        knows = "What do you know of me?"
        assert self.ask(server, "grace", knows) == "You have told me nothing yet."
        assert self.ask(server, "grace", "Remember that I drink tea.") == "I will remember it."
        self.ask(server, "grace", "remember that I live by the sea.")
        self.ask(server, "grace", "Remember that I drink tea.")
        assert self.ask(server, "grace", knows) == "You told me: I drink tea; I live by the sea."
        assert self.ask(server, "bob", knows) == "You have told me nothing yet."
        found = [item.value["fact"] for item in ry.store.search(["memories", "grace"])]
        assert sorted(found) == ["I drink tea", "I live by the sea"]

    def test_without_a_speaker_it_does_not_begin(self, server: ServerProcess) -> None:
        with pytest.raises(urllib.error.HTTPError) as refused:
            told(server, agent_id="long_term_memory", context={"name": "grace"}, **said("hi"))
        assert refused.value.code == 422
        assert json.load(refused.value)["metadata"]["field"] == "context.user"


class TestCreateAgent:
    def test_two_calls_of_one_message_are_carried_out_and_the_answer_has_its_form(self, ry: Runyard) -> None:
        thread = ry.thread()
        run = thread.run("create_agent", **said("Which is larger, Oslo or Bergen?"))
        assert run.result()["structured_response"] == {"city": "Oslo", "inhabitants": 717_710}
        messages = conversation(run)
        assert len(messages[1]["tool_calls"]) == 2
        found = [message["content"] for message in messages if message["role"] == "tool"]
        assert found[:2] == ["717710", "291940"]
        again = thread.run("create_agent", **said("And of Bergen and Tromso?"))
        assert again.result()["structured_response"] == {"city": "Bergen", "inhabitants": 291_940}
        assert len(conversation(again)) == 2 * len(messages)

    def test_what_is_private_to_a_middleware_is_not_an_input(self, server: ServerProcess) -> None:
        schemas = server.get("/agents/create_agent/schemas")[1]
        assert "messages" in schemas["input_schema"]["properties"]
        assert "run_model_call_count" not in schemas["input_schema"]["properties"]


class TestDeepAgent:
    def test_it_plans_delegates_and_keeps_a_file_on_the_thread(self, ry: Runyard) -> None:
        thread = ry.thread()
        run = thread.run("deep_agent", **said("Report on the heron."))
        messages = conversation(run)
        values = thread.refresh()
        assert values["files"]["/report.md"]["content"] == "# The heron\n\nIt was seen 3 times this week.\n"
        assert [(todo["content"], todo["status"]) for todo in values["todos"]] == [
            ("count sightings", "completed"),
            ("write the report", "completed"),
        ]
        assert messages[-1]["content"] == "The report is in /report.md."
        assert [message.id for message in thread.info.messages or ()] == [message["id"] for message in messages]
        assert len({state.checkpoint.checkpoint_id for state in thread.history(limit=50)}) > 5

    def test_its_subagent_can_be_watched_and_keeps_its_conversation_to_itself(self, server: ServerProcess) -> None:
        wish = {"agent_id": "deep_agent", "stream_mode": ["updates", "messages", "values"]}
        events = told(server, **wish, **said("Report on the otter."), stream_subgraphs=True)
        inside = [data for name, data in events if name.startswith("updates|")]
        assert [node for data in inside for node in data if node in ("model", "tools")] == ["model", "tools", "model"]
        heard = ["".join(part["content"] for part in parts) for parts in pieces(events, "messages|tools").values()]
        assert "It was seen 1 times this week." in heard
        final = last_state(events)
        assert "sightings" not in [
            call["name"] for message in final["messages"] for call in message.get("tool_calls", [])
        ]
