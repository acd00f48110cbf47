"""Frames of a WebSocket that are made once for many: as a client of another library reads them."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, Protocol

from runyard.api.socket import LARGEST_PIECE, framed


def read(data: bytes) -> list[bytes]:
    """The texts in what a server has sent."""
    client = Protocol(CLIENT, max_size=None)
    client.receive_data(data)
    texts: list[bytes] = []
    for frame in client.events_received():
        assert isinstance(frame, Frame)
        assert (frame.opcode, frame.fin) == (Opcode.TEXT, True)
        texts.append(bytes(frame.data))
    return texts


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 300_000])
def test_a_text_of_any_size_is_one_message(size: int) -> None:
    texts = [b"x" * size, b"behind"]
    assert [text for piece in framed(texts) for text in read(piece)] == texts


def test_pieces_hold_whole_frames_and_are_small() -> None:
    texts = [b"%05d" % number * 100 for number in range(1000)]
    pieces = framed(texts)
    assert [text for piece in pieces for text in read(piece)] == texts
    assert len(pieces) > 1
    assert max(map(len, pieces)) < LARGEST_PIECE + 600
    assert framed([]) == []
