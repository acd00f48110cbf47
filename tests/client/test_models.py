from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from uuid import uuid4

import ap_client
import pytest
from ap_client.models import (
    AgentCapabilities,
    AgentSchema,
    AgentSchemas,
    Config,
    Input,
    Message,
    Run,
    RunCreate,
    RunSearchRequest,
    RunStatus,
    RunWaitResponse,
    StoreDeleteRequest,
    ThreadCheckpoint,
    ThreadCreate,
    ThreadStatus,
)

from .fake import RUN


def test_an_unknown_keyword_is_an_error_that_names_it_and_the_near_one() -> None:
    with pytest.raises(ap_client.ApiTypeError, match="no field 'inptu'; did you mean 'input'"):
        RunCreate(inptu=1)
    with pytest.raises(ap_client.ApiAttributeError, match="RunCreate has no field 'foo'; its fields are: "):
        RunCreate().foo = 1


def test_fields_of_this_server_are_sent() -> None:
    given = {
        "multitask_strategy": "enqueue",
        "after_seconds": 1.5,
        "command": {"resume": "yes"},
        "stream_mode": "values",
        "checkpoint": {"checkpoint_id": "c"},
    }
    assert RunCreate(**given).validate().to_dict() == given
    assert RunCreate(checkpoint=ThreadCheckpoint(checkpoint_id="c")).to_dict() == {"checkpoint": {"checkpoint_id": "c"}}


def test_additional_properties_are_sent_with_every_model() -> None:
    assert RunCreate(additional_properties={"later": 1}).to_dict() == {"later": 1}
    message = Message(role="user", content="x", cache=True)
    assert (message.cache, message.additional_properties) == (True, {"cache": True})
    assert message.to_dict() == {"role": "user", "content": "x", "cache": True}


def test_aliases_read_and_write_and_both_names_construct() -> None:
    read = AgentCapabilities.from_dict({"ap.io.messages": True, "com.example.x": 1})
    assert (read.ap_io_messages, read.ap_io_streaming) == (True, None)
    assert read.to_dict() == {"ap.io.messages": True, "com.example.x": 1}
    assert AgentCapabilities(ap_io_streaming=False).to_dict() == {"ap.io.streaming": False}
    assert AgentCapabilities(**{"ap.io.streaming": False}).ap_io_streaming is False


def test_what_was_not_given_reads_as_none_and_is_not_sent() -> None:
    create = ThreadCreate(metadata=None)
    assert (create.thread_id, create.metadata, create.to_dict()) == (None, None, {})


def test_nested_mappings_become_models() -> None:
    create = RunCreate(config={"tags": ["a"]}, messages=[{"role": "user", "content": "hi"}])
    assert create.config == Config(tags=["a"])
    assert create.messages == [Message(role="user", content="hi")]
    create.config = {"recursion_limit": 3}
    assert create.config.recursion_limit == 3


def test_required_fields_are_asked_for_when_sent_not_before() -> None:
    request = StoreDeleteRequest()
    with pytest.raises(ap_client.ApiValueError, match=r"StoreDeleteRequest\.key: is required") as caught:
        request.validate()
    assert caught.value.path_to_item == ["key"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"on_completion": "drop"}, "on_completion: 'drop' is not one of 'delete', 'keep'"),
        ({"multitask_strategy": "x"}, "multitask_strategy: 'x' is not one of 'reject', 'enqueue'"),
        ({"config": {"recursion_limit": "ten"}}, "config.recursion_limit: 'ten' is not an integer"),
        ({"config": {"recursion_limit": True}}, "config.recursion_limit: True is not an integer"),
        ({"metadata": [1]}, r"metadata: \[1\] is not an object"),
        ({"messages": "hi"}, "messages: 'hi' is not a list"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\].content: is required"),
        ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content: 3 is neither a string nor a"),
        ({"messages": [{"role": "u", "content": [{}]}]}, r"messages\[0\].content: .* is neither a string nor a"),
        ({"stream_mode": 3}, "stream_mode: 3 is neither a string nor a list"),
        ({"after_seconds": "1"}, "after_seconds: '1' is not a number"),
    ],
)
def test_a_value_that_does_not_fit_is_named(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(ap_client.ApiValueError, match=f"RunCreate.{sentence}"):
        RunCreate(**given).validate()


@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("limit", 1001), ("offset", -1)])
def test_bounds_of_the_protocol_are_kept(field: str, value: int) -> None:
    with pytest.raises(ap_client.ApiValueError, match=f"RunSearchRequest.{field}: {value} is"):
        RunSearchRequest(**{field: value}).validate()


def test_reading_is_lenient() -> None:
    run = Run.from_dict({"run_id": 3, "created_at": "yesterday", "messages": "none", "later": {"a": 1}})
    assert (run.run_id, run.created_at, run.messages, run.later) == (3, "yesterday", "none", {"a": 1})
    assert run.status is None


def test_a_run_is_a_read_only_mapping_of_what_was_sent() -> None:
    sent = {**RUN, "outcome": "completed", "attempt": 1, "webhook": None, "error": {"code": "c", "message": "m"}}
    run = Run.from_dict({**sent, "kwargs": {}})
    assert dict(run) == run == {**sent, "kwargs": {}}
    assert run["run_id"] == RUN["run_id"] == run.run_id
    assert run["created_at"] == RUN["created_at"]
    assert run.get("nope") is None
    assert "status" in run
    assert "nope" not in run
    assert len(run) == len(sent) + 1
    assert (run.outcome, run.attempt, run.error.code, run.kwargs) == ("completed", 1, "c", {})
    with pytest.raises(TypeError):
        run["status"] = "x"
    with pytest.raises(KeyError):
        run["nope"]
    with pytest.raises(AttributeError):
        run.nope  # noqa: B018


def test_a_waited_run_has_everything_that_the_server_says() -> None:
    read = RunWaitResponse.from_dict(
        {
            "run": RUN,
            "values": {"a": 1},
            "messages": [{"role": "ai", "content": "hi"}],
            "status": "error",
            "error": {"code": "agent_failed", "message": "ValueError: no"},
            "interrupts": [{"id": "i", "value": "?"}],
        }
    )
    assert read.run.status == read.run["status"] == "success"
    assert (read.values, read.messages[0].content, read.status) == ({"a": 1}, "hi", RunStatus.ERROR)
    assert (read.error.code, read.interrupts) == ("agent_failed", [{"id": "i", "value": "?"}])


def test_dates_are_dates_and_to_dict_keeps_them() -> None:
    run = Run.from_dict({**RUN, "created_at": "2025-04-16T18:23:20Z"})
    assert run.created_at == datetime(2025, 4, 16, 18, 23, 20, tzinfo=UTC)
    assert Run.from_dict(run.to_dict()) == run


def test_what_json_cannot_hold_is_refused() -> None:
    for value in (float("nan"), "\ud800", object(), {1, object()}):
        with pytest.raises(ap_client.ApiValueError, match="cannot be written as JSON"):
            RunCreate(input={"x": value}).to_json()


def test_models_and_python_values_may_stand_anywhere_in_an_input() -> None:
    some = uuid4()
    value = {"messages": [Message(role="user", content="hi")], "id": some, "at": datetime(2025, 1, 1, tzinfo=UTC)}
    assert RunCreate(input=value).to_json() == (
        '{"input":{"messages":[{"role":"user","content":"hi"}],"id":"' + str(some) + '",'
        '"at":"2025-01-01T00:00:00+00:00"}}'
    )


@pytest.mark.parametrize("value", [{"a": 1}, [1], "x", 3, 1.5, True, None])
def test_every_kind_of_input_survives(value: object) -> None:
    assert RunCreate(input=value).to_dict() == {"input": value} == RunCreate(input=Input(value)).to_dict()
    assert RunCreate.from_json(RunCreate(input=value).to_json()).input == value


def test_wrappers_have_the_ways_of_models() -> None:
    box = Input.from_json('{"a": 1}')
    assert (box.actual_instance, box.to_dict(), box.to_json()) == ({"a": 1}, {"a": 1}, '{"a":1}')
    assert box == Input({"a": 1}) == Input.from_dict({"a": 1})


def test_models_copy_pickle_compare_and_show_themselves() -> None:
    run = Run.from_dict({**RUN, "later": 1})
    assert copy.deepcopy(run) == run == pickle.loads(pickle.dumps(run))
    assert run.but(status="error").status is RunStatus.ERROR
    assert run.status is RunStatus.SUCCESS
    assert repr(ThreadCheckpoint(checkpoint_id="c", x=1)) == "ThreadCheckpoint(checkpoint_id='c', x=1)"
    assert "'later': 1" in run.to_str()
    assert run != ThreadCheckpoint(checkpoint_id="c")


def test_text_that_is_no_object_is_refused() -> None:
    for text in ("[1]", "{", '"x"'):
        with pytest.raises(ap_client.ApiValueError, match="Run is read from"):
            Run.from_json(text)


def test_two_names_of_one_schema_and_the_statuses() -> None:
    assert AgentSchemas is AgentSchema
    assert ThreadStatus.from_json('"idle"') is ThreadStatus.IDLE
    assert RunStatus.from_json('"timeout"') == "timeout"
    assert str(RunStatus.PENDING) == "pending"
