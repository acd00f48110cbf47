"""From bytes to events, as the HTML standard says."""

from __future__ import annotations

import pytest
from ap_client.sse import EventParser, ServerEvent
from hypothesis import given
from hypothesis import strategies as st

STREAM = (
    '\ufeff: welcome\r\nid: 1\r\nevent: values\r\ndata: {"a": "é\u2028"}\r\n\r\n'
    "retry: 250\n\n: heartbeat\n\ndata: two\ndata:  lines\n\r\n"
    "event: custom\rdata\rid: 3\r\rid: \nevent: end\ndata: null\n\ndata: unfinished"
).encode()
EVENTS = [
    ServerEvent("values", {"a": "é\u2028"}, "1"),
    ServerEvent("message", "two\n lines", "1"),
    ServerEvent("custom", "", "3"),
    ServerEvent("end", None, None),
]


def test_fields_lines_and_comments_are_read() -> None:
    parser = EventParser()
    assert list(parser.feed(STREAM)) == EVENTS
    assert parser.retry_seconds == 0.25


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_pieces_may_be_cut_anywhere(cuts: list[int]) -> None:
    parser, at, events = EventParser(), 0, []
    for cut in [*sorted(cuts), len(STREAM)]:
        events += parser.feed(STREAM[at:cut])
        at = cut
    assert events == EVENTS


@pytest.mark.parametrize("line", [b"id: a\0b", b"retry: soon", b"unknown: x", b"data2: x"])
def test_lines_that_mean_nothing_are_left_out(line: bytes) -> None:
    parser = EventParser()
    assert list(parser.feed(b"id: 7\n" + line + b"\ndata: 1\n\n")) == [ServerEvent("message", 1, "7")]
    assert parser.retry_seconds is None


def test_an_event_without_data_is_none() -> None:
    parser = EventParser()
    assert list(parser.feed(b"event: x\nid: 4\n\n")) == []
    assert parser.last_event_id == "4"
