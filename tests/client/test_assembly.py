"""Messages are put together from their events: whatever the pieces, the same message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from ap_client.assembly import Assembler, MessageState, reasoning_of, text_of, tool_calls_of
from ap_client.thread_events import ThreadEvent, read_event
from hypothesis import given
from hypothesis import strategies as st


def event(data: dict[str, Any], namespace: tuple[str, ...] = (), seq: int = 1, **more: Any) -> ThreadEvent:
    params = {"namespace": list(namespace), "data": data, "timestamp": 1, **more}
    found = read_event({"type": "event", "seq": seq, "runId": "r", "method": "messages", "params": params})
    assert isinstance(found, ThreadEvent)
    return found


def begin(message: str = "m", role: str = "ai", **more: Any) -> dict[str, Any]:
    return {"event": "message-start", "role": role, "id": message, **more}


def block(content: dict[str, Any], index: int = 0, which: str = "start", **more: Any) -> dict[str, Any]:
    return {"event": f"content-block-{which}", "index": index, "content": content, **more}


def delta(change: dict[str, Any], index: int = 0, **more: Any) -> dict[str, Any]:
    return {"event": "content-block-delta", "index": index, "delta": change, **more}


def fed(told: Iterable[dict[str, Any]], assembler: Assembler | None = None, **more: Any) -> list[MessageState]:
    assembler = assembler or Assembler()
    made = [assembler.feed(event(data, **more)) for data in told]
    return [each for each in made if each is not None]


def test_a_message_is_put_together() -> None:
    (message,) = fed(
        [
            begin(metadata={"model": "x"}),
            block({"type": "reasoning", "reasoning": ""}, 0),
            delta({"type": "reasoning-delta", "reasoning": "let me "}, 0),
            delta({"type": "reasoning-delta", "reasoning": "see"}, 0),
            block({"type": "reasoning", "reasoning": "let me see"}, 0, "finish"),
            block({"type": "text", "text": "He"}, 1),
            delta({"type": "text-delta", "text": "llo"}, 1),
            block({"type": "text", "text": "Hello", "annotations": []}, 1, "finish"),
            block({"type": "tool_call_chunk", "id": "c1", "name": "search", "args": None}, 2),
            delta({"type": "tool-call-delta", "args": '{"q"'}, 2),
            delta({"type": "tool-call-delta"}, 2),
            delta({"type": "tool-call-delta", "args": ":1}"}, 2),
            block({"type": "tool_call", "id": "c1", "name": "search", "args": {"q": 1}}, 2, "finish"),
            block({"type": "image", "mimeType": "image/png", "base64": "QUJD"}, 3),
            delta({"type": "data-delta", "data": "REVG"}, 3),
            {"event": "message-finish", "usage": {"inputTokens": 1, "outputTokens": 2}},
        ]
    )
    assert (message.id, message.role, message.status, message.metadata) == ("m", "ai", "complete", {"model": "x"})
    assert text_of(message.blocks) == "Hello" == "".join(message.pieces)
    assert reasoning_of(message.blocks) == "let me see"
    assert tool_calls_of(message.blocks) == [{"type": "tool_call", "id": "c1", "name": "search", "args": {"q": 1}}]
    assert message.blocks[3] == {"type": "image", "mimeType": "image/png", "base64": "QUJDREVG"}
    assert message.usage == {"inputTokens": 1, "outputTokens": 2}


def test_a_tool_call_can_be_seen_while_it_grows_and_patches_replace() -> None:
    assembler = Assembler()
    (message,) = fed([begin(), block({"type": "tool_call_chunk", "id": None, "name": "f", "args": ""})], assembler)
    fed([delta({"type": "tool-call-delta", "args": '{"a'})], assembler)
    assert tool_calls_of(message.blocks)[0]["args"] == '{"a'
    fed(
        [delta({"type": "block-delta", "fields": {"type": "tool_call_chunk", "args": '{"a":1}', "id": "c"}})], assembler
    )
    assert message.blocks == [{"type": "tool_call_chunk", "id": "c", "name": "f", "args": '{"a":1}'}]
    assert message.status == "streaming"


def test_what_is_not_known_changes_nothing() -> None:
    assembler = Assembler()
    (message,) = fed([begin(), block({"type": "text", "text": "a"})], assembler)
    odd: list[Any] = [
        delta({"type": "hologram-delta", "text": "b"}),
        delta({}),
        {"event": "content-block-delta", "index": 0},
        {"event": "content-block-start", "index": 1},
        {"event": "message-applauded"},
        {},
    ]
    assert fed(odd, assembler) == []
    assert assembler.feed(ThreadEvent("messages", "no object")) is None
    assert message.blocks == [{"type": "text", "text": "a"}]


def test_snake_case_is_read_too_and_what_was_said_stays() -> None:
    assembler = Assembler()
    (message,) = fed([{"event": "message-start", "role": "ai", "id": "m"}], assembler)
    fed([block({"type": "text", "text": "", "mime_type": "x"}, message_id="m")], assembler)
    fed([{"event": "message-finish", "message_id": "m", "usage": {"input_tokens": 1}}], assembler)
    assert (message.usage, message.blocks[0]["mime_type"]) == ({"input_tokens": 1}, "x")


def test_a_call_that_fails_ends_its_message() -> None:
    (message,) = fed(
        [begin(), delta({"type": "text-delta", "text": "a"}), {"event": "error", "message": "no", "code": "c"}]
    )
    assert (message.status, message.error, text_of(message.blocks)) == ("failed", ("c", "no"), "a")


def test_a_finished_block_that_was_never_streamed_is_a_piece() -> None:
    (message,) = fed([begin("h", "human"), block({"type": "text", "text": ""}), block(text("hi"), 0, "finish")])
    assert message.pieces == ["hi"]
    (message,) = fed(
        [begin(), block(text("a")), delta({"type": "text-delta", "text": "b"}), block(text("abc"), 0, "finish")]
    )
    assert message.pieces == ["a", "b", "c"]


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def test_a_message_whose_start_was_not_told_begins_with_what_was() -> None:
    (message,) = fed([delta({"type": "text-delta", "text": "late"}, id="m")])
    assert (message.id, message.role, text_of(message.blocks)) == ("m", "ai", "late")


def test_messages_with_ids_may_overlap_in_one_place() -> None:
    told = [
        begin("a"),
        begin("b"),
        delta({"type": "text-delta", "text": "1"}, id="a"),
        delta({"type": "text-delta", "text": "2"}, id="b"),
        {"event": "message-finish", "id": "a"},
        delta({"type": "text-delta", "text": "3"}, id="b"),
    ]
    first, second = fed(told)
    assert (text_of(first.blocks), first.status) == ("1", "complete")
    assert (text_of(second.blocks), second.status) == ("23", "streaming")


def test_messages_without_ids_are_known_by_their_place() -> None:
    assembler = Assembler()
    places: list[dict[str, Any]] = [{"namespace": ("x:1",)}, {"namespace": ("x:2",)}, {"node": "n"}, {}]
    made = [fed([begin(f"m{number}")], assembler, **place)[0] for number, place in enumerate(places)]
    for number, place in enumerate(places):
        fed([delta({"type": "text-delta", "text": str(number)})], assembler, **place)
    assert [text_of(message.blocks) for message in made] == ["0", "1", "2", "3"]


def test_what_was_told_before_a_further_attempt_is_dropped() -> None:
    assembler = Assembler()
    (old,) = fed([begin("old")], assembler, seq=3)
    (new,) = fed([begin("new")], assembler, seq=7, node="other")
    (whole,) = fed([begin("whole"), {"event": "message-finish", "id": "whole"}], assembler, seq=2)
    assembler.drop("another run")
    assert old.status == "streaming"
    assembler.drop("r", before=(5, 0))
    assert [each.status for each in (old, new, whole)] == ["dropped", "streaming", "complete"]
    assembler.drop()
    assert new.status == "dropped"


def test_a_message_that_is_told_anew_takes_the_place_of_the_other() -> None:
    assembler = Assembler()
    (old,) = fed([begin("m"), delta({"type": "text-delta", "text": "x"}, id="m")], assembler)
    (new,) = fed([begin("m"), delta({"type": "text-delta", "text": "y"}, id="m")], assembler)
    assert (old.status, text_of(old.blocks), text_of(new.blocks)) == ("dropped", "x", "y")


texts = st.text(max_size=12)
blocks = st.lists(
    st.one_of(
        texts.map(lambda said: {"type": "text", "text": said}),
        texts.map(lambda said: {"type": "reasoning", "reasoning": said}),
        st.text(alphabet='{}":abc1,', max_size=20).map(
            lambda args: {"type": "tool_call_chunk", "id": "c", "name": "f", "args": args}
        ),
        st.text(alphabet="ABC4", max_size=16).map(lambda data: {"type": "image", "mimeType": "i", "base64": data}),
        st.dictionaries(st.sampled_from("xyz"), st.integers(), max_size=3).map(
            lambda value: {"type": "non_standard", "value": value}
        ),
    ),
    max_size=4,
)
GROWS = {
    "text": ("text", "text-delta", "text"),
    "reasoning": ("reasoning", "reasoning-delta", "reasoning"),
    "tool_call_chunk": ("args", "tool-call-delta", "args"),
    "image": ("base64", "data-delta", "data"),
}


def chunked(
    content: dict[str, Any], index: int, cuts: Iterator[int], named: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """A block, told in as many pieces as somebody likes; perhaps by patches, perhaps finished."""
    grows = GROWS.get(content["type"])
    if grows is None:
        yield block({"type": content["type"]}, index, **named)
        yield delta({"type": "block-delta", "fields": content}, index, **named)
        return
    target, kind, source = grows
    whole: str = content[target]
    at = next(cuts) % (len(whole) + 1)
    yield block({**content, target: whole[:at]}, index, **named)
    while at < len(whole):
        upto = at + 1 + next(cuts) % len(whole)
        if next(cuts) % 5 == 0:
            yield delta(
                {"type": "block-delta", "fields": {"type": content["type"], target: whole[:upto]}}, index, **named
            )
        else:
            yield delta({"type": kind, source: whole[at:upto]}, index, **named)
        at = upto
    if next(cuts) % 2:
        yield block(content, index, "finish", **named)


@given(st.lists(st.tuples(blocks, st.booleans()), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_any_chunking_and_any_interleaving_give_the_same_messages(wanted: list[Any], random: Any) -> None:
    cuts = iter(lambda: random.randrange(100), None)
    queues: list[tuple[tuple[str, ...], list[dict[str, Any]]]] = []
    for number, (contents, has_ids) in enumerate(wanted):
        named = {"id": f"m{number}"} if has_ids else {}
        told = [begin(f"m{number}")]
        for index, content in enumerate(contents):
            told += chunked(content, index, cuts, named)
        # Those with ids may share a place; the others have one each.
        queues.append((() if has_ids else (f"n:{number}",), [*told, {"event": "message-finish", **named}]))
    assembler, made = Assembler(), {}
    while any(told for _, told in queues):
        namespace, told = random.choice([each for each in queues if each[1]])
        message = assembler.feed(event(told.pop(0), namespace))
        if message is not None:
            made[message.id] = message
    for number, (contents, _) in enumerate(wanted):
        message = made[f"m{number}"]
        assert message.blocks == contents
        assert message.status == "complete"
        assert "".join(message.pieces) == text_of(contents)
    assert assembler.unfinished == []


@pytest.mark.parametrize("position", [None, (4, 0)])
def test_a_message_without_a_place_is_dropped_by_any_attempt(position: Any) -> None:
    assembler = Assembler()
    message = assembler.feed(ThreadEvent("messages", begin()))
    assembler.drop("r", before=position)
    assert message is not None
    assert message.status == "dropped"
