"""The streaming protocol of threads: events over SSE or a WebSocket, commands over HTTP."""

import base64
import os
from collections.abc import Mapping
from typing import Any, Unpack

from ap_client.call import ANY_STREAM, Call, Id, RequestOptions, body_of
from ap_client.models.event_stream_request import EventStreamRequest
from ap_client.models.streaming_command import StreamingCommand
from ap_client.models.streaming_command_response import StreamingCommandResponse


def open_thread_sse_stream(
    thread_id: Id, event_stream_request: EventStreamRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[str]:
    """The whole text of a thread's events, once the server has ended the stream.

    It does not end with a run: `open_thread_sse_stream_without_preload_content` gives the bytes as they come.
    """
    body = body_of(EventStreamRequest, event_stream_request, "event_stream_request")
    path, ids = "/threads/{thread_id}/stream", {"thread_id": thread_id}
    return Call("POST", path, str, options, ids=ids, body=body, accept=ANY_STREAM)


def open_thread_websocket_stream(thread_id: Id, **options: Unpack[RequestOptions]) -> Call[None]:
    """Ask for a WebSocket to a thread; returns when the server agrees to switch protocols.

    Of the three forms `open_thread_websocket_stream_without_preload_content` keeps the connection, in its answer's
    `network_stream`, for a WebSocket library to speak over. The other two close it.
    """
    handshake = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    path, ids = "/threads/{thread_id}/stream", {"thread_id": thread_id}
    return Call("GET", path, type(None), options, ids=ids, headers=handshake)


def send_thread_streaming_command(
    thread_id: Id, streaming_command: StreamingCommand | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[StreamingCommandResponse]:
    """Send a command to a thread. A command that fails is an answer too, of type `error`."""
    body = body_of(StreamingCommand, streaming_command, "streaming_command")
    path, ids = "/threads/{thread_id}/commands", {"thread_id": thread_id}
    return Call("POST", path, StreamingCommandResponse, options, ids=ids, body=body)
