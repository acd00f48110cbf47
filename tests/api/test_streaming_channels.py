"""Which events a subscription sees: channels, names, namespaces, depth; and that what is told hangs together."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from live_server import Server, Starter, play
from streaming_frames import Frame, check_whole
from watching import ALL, Transport, a_whole_story, everything, log_of, send, settled, watch, word

transports = pytest.mark.parametrize("transport", get_args(Transport))


def channel_of(frame: Frame) -> str:
    return frame["method"].partition(".")[0]


async def sees(
    s: Server, thread: str, transport: Transport, channels: list[str], expected: list[Frame], **more: Any
) -> None:
    """A subscription from the start of the log on gives exactly these frames."""
    seen = await watch(s, thread, channels, transport, since=0, **more)
    await seen.until(lambda told: len(told) >= len(expected))
    await settled(s)
    assert seen.frames == expected
    await seen.leave()


def test_a_thread_tells_everything_and_it_hangs_together(server: Starter) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            check_whole(frames)
            assert {channel_of(frame) for frame in frames} == set(ALL) - {"tasks"}
            told = list(map(word, frames))
            assert told[:3] == ["started", "running", "message-start"]
            assert told[-1] == "completed"
            end = told.index("interrupted")
            assert told[end - 2 : end + 4] == [
                "checkpoints", "input.requested", "interrupted", "input.answered", "started", "running",
            ]  # fmt: skip
            assert [t for t in told if "@" in t] == [
                "started@child", "tool-started@child", "tool-output-delta@child", "tool-output-delta@child",
                "tool-finished@child", "started@child/grandchild", "custom:deep@child/grandchild",
                "completed@child/grandchild", "message-start@child", "content-block-start@child",
                "content-block-delta@child", "content-block-finish@child", "message-finish@child", "completed@child",
                "started@other", "custom:beside@other", "completed@other",
            ]  # fmt: skip
            assert told.count("tool-started") == told.count("tool-error")
            first = frames[0]["params"]["data"]
            assert first == {"event": "started", "graphName": "everything"}
            data = [frame["params"]["data"] for frame in frames]
            finished = {d["content"]["type"]: d["content"] for d in data if "content" in d and "finish" in d["event"]}
            assert finished["text"]["text"] == "within"
            assert finished["tool_call"]["name"] == "second"
            assert finished["image"] == {"type": "image", "url": "http://x", "mimeType": "image/png"}
            assert finished["non_standard"]["value"] == {"fileId": 1}
            assert [d["usage"] for d in data if "usage" in d] == [
                {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7, "inputTokenDetails": {"cacheRead": 1}}
            ]
            state = [frame["params"]["data"] for frame in frames if frame["method"] == "values"][-1]
            assert (state["fileId"], state["answer"]) == ({"mime_type": 1}, {"graphName": 5})
            runs = {frame["runId"] for frame in frames}
            assert len(runs) == 2

    play(story())


@transports
def test_each_channel_has_its_events_and_no_others(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            for channel in ALL:
                await sees(s, thread, transport, [channel], [f for f in frames if channel_of(f) == channel])
            pair = ["input", "custom:named"]
            expected = [f for f in frames if channel_of(f) == "input" or word(f) == "custom:named"]
            assert len(expected) == 3
            await sees(s, thread, transport, pair, expected)
            await sees(s, thread, transport, ["custom:name"], [])
            await sees(s, thread, transport, ["custom", "custom:named"], [f for f in frames if f["method"] == "custom"])
            await sees(s, thread, transport, ALL, frames)

    play(story())


CHILD, GRANDCHILD, OTHER = "child", "child/grandchild", "other"
COVERED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["", CHILD, GRANDCHILD, OTHER]),
    ({"namespaces": []}, ["", CHILD, GRANDCHILD, OTHER]),
    ({"namespaces": [[]]}, ["", CHILD, GRANDCHILD, OTHER]),
    ({"namespaces": [["child"]]}, [CHILD, GRANDCHILD]),
    ({"namespaces": [["chil"]]}, []),
    ({"namespaces": [["child:"]]}, []),
    ({"namespaces": [["child:*"]]}, []),
    ({"namespaces": [["child", "grandchild"]]}, [GRANDCHILD]),
    ({"namespaces": [["grandchild"]]}, []),
    ({"namespaces": [["child", "grandchild", "x"]]}, []),
    ({"namespaces": [["other"], ["child", "grandchild"]]}, [GRANDCHILD, OTHER]),
    ({"depth": 0}, [""]),
    ({"depth": 1}, ["", CHILD, OTHER]),
    ({"depth": 2}, ["", CHILD, GRANDCHILD, OTHER]),
    ({"namespaces": [["child"]], "depth": 0}, [CHILD]),
    ({"namespaces": [["child"]], "depth": 1}, [CHILD, GRANDCHILD]),
    ({"namespaces": [["child"], []], "depth": 0}, ["", CHILD]),
]


@transports
def test_namespaces_are_prefixes_and_depth_is_how_far_below_them(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await a_whole_story(s)
            frames = await log_of(s, thread)
            for wish, covered in COVERED:
                expected = [f for f in frames if place(f) in covered]
                await sees(s, thread, transport, ALL, expected, **wish)
            full = next(f["params"]["namespace"] for f in frames if place(f) == GRANDCHILD)
            named = [f for f in frames if f["params"]["namespace"][:1] == full[:1]]
            await sees(s, thread, transport, ALL, named, namespaces=[full[:1]])
            await sees(s, thread, transport, ALL, [f for f in named if place(f) == GRANDCHILD], namespaces=[full])
            await sees(s, thread, transport, ALL, [], namespaces=[[full[0] + "0"]])

    play(story())


def place(frame: Frame) -> str:
    return "/".join(segment.partition(":")[0] for segment in frame["params"]["namespace"])


@transports
def test_both_spellings_of_keys_are_read(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await s.thread()
            begun = await send(s, thread, "run.start", assistant_id="everything", input={})
            await s.wait(begun["result"]["runId"])
            frames = await log_of(s, thread)
            at = frames[5]["eventId"]
            seen = await watch(s, thread, ALL, transport, since_event_id=at)
            await seen.until(lambda told: len(told) >= len(frames) - 6)
            assert seen.frames == frames[6:]
            await seen.leave()

    play(story())


@transports
def test_live_and_replayed_are_the_same(server: Starter, transport: Transport) -> None:
    async def story() -> None:
        async with server(everything) as s:
            thread = await s.thread()
            live = await watch(s, thread, transport=transport)
            begun = await send(s, thread, "run.start", assistantId="everything", input={})
            await live.until_told("interrupted")
            assert live.frames == await log_of(s, thread)
            assert {frame["runId"] for frame in live.frames} == {begun["result"]["runId"]}
            await live.leave()

    play(story())
