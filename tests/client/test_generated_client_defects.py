"""What the client generated from the protocol's document gets wrong, and this one does not."""

from __future__ import annotations

import json
import threading
from uuid import UUID

import ap_client
import httpx2
import pytest
from ap_client.models import (
    Content,
    ContentOneOfInner,
    Input,
    Message,
    MessageAnyBlock,
    MessageTextBlock,
    Run,
    RunCreate,
    RunStatus,
    RunStream,
    StreamMode,
    Thread,
)

from .fake import RUN, THREAD, FakeServer


def test_01_a_dict_as_input_is_sent_as_it_is() -> None:
    assert RunCreate(input={"a": 1}).to_dict() == {"input": {"a": 1}}


def test_02_plain_strings_need_no_wrapper_and_wrappers_are_taken() -> None:
    assert RunCreate(input="x").to_dict() == {"input": "x"} == RunCreate(input=Input("x")).to_dict()
    plain, wrapped = Message(role="user", content="x"), Message(role="user", content=Content("x"))
    assert plain.to_dict() == {"role": "user", "content": "x"} == wrapped.to_dict()
    assert plain.content == "x"
    assert plain.content.actual_instance == "x"


def test_03_an_input_that_was_not_given_is_not_sent() -> None:
    assert RunCreate.from_dict({"agent_id": "e"}).to_dict() == {"agent_id": "e"}
    assert RunCreate(input=None).to_dict() == {"input": None}


def test_04_blocks_of_content_keep_what_is_in_them() -> None:
    blocks = [{"type": "text", "text": "hi"}, {"type": "image", "url": "u", "size": [1, 2]}]
    for content in (blocks, Content(blocks), [ContentOneOfInner(block) for block in blocks]):
        assert Message(role="user", content=content).to_dict()["content"] == blocks
    read = Message.from_dict({"role": "user", "content": blocks})
    assert read.to_dict()["content"] == blocks
    first, second = read.content
    assert (first.text, second.url) == ("hi", "u")
    assert read.content.actual_instance[0].actual_instance.text == "hi"


def test_05_only_blocks_of_type_text_are_text_blocks_and_unknown_keys_stay() -> None:
    read = Message.from_dict(
        {"role": "u", "content": [{"type": "note", "text": "a"}, {"type": "text", "text": "b", "k": 1}]}
    )
    assert [type(block) for block in read.content] == [MessageAnyBlock, MessageTextBlock]
    assert read.to_dict()["content"][1] == {"type": "text", "text": "b", "k": 1}
    with pytest.raises(ap_client.ApiValueError, match="'note' is not one of 'text'"):
        MessageTextBlock(type="note", text="a").validate()


@pytest.mark.parametrize("given", ["values", ["values", "custom"]])
def test_06_stream_mode_is_written_and_read(given: str | list[str]) -> None:
    assert RunStream(stream_mode=given).to_dict() == {"stream_mode": given}
    assert RunStream(stream_mode=StreamMode(given)).to_dict() == {"stream_mode": given}
    assert Run.from_dict({**RUN, "stream_mode": given}).stream_mode == given


def test_07_what_holds_dates_becomes_json() -> None:
    assert json.loads(Run.from_dict(RUN).to_json())["created_at"] == "2025-04-16T18:23:20+00:00"
    assert Thread.from_json(Thread.from_dict(THREAD).to_json()) == Thread.from_dict(THREAD)


def test_08_a_run_has_a_status() -> None:
    assert Run.from_dict(RUN).status is RunStatus.SUCCESS
    assert Run.from_dict(RUN).status == "success"


def test_09_a_status_that_is_not_known_is_kept() -> None:
    assert Run.from_dict({**RUN, "status": "running"}).status == "running"


def test_10_uuids_are_ids(server: FakeServer) -> None:
    api = ap_client.BackgroundRunsApi(server.client())
    api.create_run(RunCreate(thread_id=UUID(THREAD["thread_id"])))
    assert server.last_body == {"thread_id": THREAD["thread_id"]}
    api.get_run(UUID(RUN["run_id"]))
    assert server.last.url.path == f"/runs/{RUN['run_id']}"


def test_11_events_come_while_the_stream_is_still_open() -> None:
    seen = threading.Event()

    class Slow(httpx2.SyncByteStream):
        def __iter__(self):
            yield b'id: 1\nevent: values\ndata: {"a": 1}\n\n'
            assert seen.wait(5), "the first event should have been seen before the stream went on"
            yield b'id: 2\nevent: end\ndata: {"status": "success"}\n\n'

    server = FakeServer(lambda request: httpx2.Response(200, stream=Slow()))
    events = ap_client.BackgroundRunsApi(server.client()).stream_run_events("r")
    assert next(events) == ap_client.ServerEvent("values", {"a": 1}, "1")
    seen.set()
    assert [event.event for event in events] == ["end"]


def test_12_an_access_token_is_sent_and_request_auth_obeyed(server: FakeServer) -> None:
    configuration = ap_client.Configuration(host="http://server", access_token="secret")
    api = ap_client.BackgroundRunsApi(server.client(configuration))
    api.get_run("r")
    assert server.last.headers["authorization"] == "Bearer secret"
    api.get_run("r", _request_auth={"in": "header", "key": "X-Key", "value": "other", "type": "apiKey"})
    assert server.last.headers["x-key"] == "other"
    assert "authorization" not in server.last.headers
    keyed = ap_client.Configuration(
        host="http://server", api_key={"key": "k1", "Authorization": "k2"}, api_key_prefix={"Authorization": "Token"}
    )
    ap_client.BackgroundRunsApi(server.client(keyed)).get_run("r")
    assert server.last.headers["x-api-key"] == "k1"
    assert server.last.headers["authorization"] == "Token k2"
