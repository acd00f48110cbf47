"""The baseline: an app that sends the same frame again and again, each by itself, over SSE and over a WebSocket.

`python -m bench.threads.raw PORT`. `POST /events` with `{"events": n}` is answered with so many server-sent events;
over a WebSocket, the same text is answered with one response and so many frames.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn

FRAME = (
    b'{"type":"event","eventId":"12345","seq":12345,"runId":"01932f3a-7d7e-7e11-9d6b-5d8a7c6b5a49","method":"custom",'
    b'"params":{"namespace":[],"timestamp":1732525200000,'
    b'"data":{"payload":{"n":12345,"text":"a token or two of some answer"}}}}'
)
EVENT = b"event: custom\nid: 12345\ndata: " + FRAME + b"\n\n"
RESPONSE = b'{"type":"success","id":1,"result":{}}'


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        events = msgspec.json.decode((await receive())["body"])["events"]
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for _ in range(events):
            await send({"type": "http.response.body", "body": EVENT, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    await receive()
    await send({"type": "websocket.accept"})
    events = msgspec.json.decode((await receive())["text"])["events"]
    for text in (RESPONSE.decode(), *(FRAME.decode() for _ in range(events))):
        await send({"type": "websocket.send", "text": text})
    while (await receive())["type"] != "websocket.disconnect":
        pass


if __name__ == "__main__":
    uvicorn.run(
        application, port=int(sys.argv[1]), lifespan="off", log_level="error", access_log=False,
        ws="websockets-sansio", ws_per_message_deflate=False, backlog=4096,
    )  # fmt: skip
