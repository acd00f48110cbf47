"""The streaming protocol of threads."""

from ap_client.api.forms import Api, data, http_info, raw
from ap_client.operations import streaming


class StreamingApi(Api):
    """The streaming protocol of threads."""

    open_thread_sse_stream = data(streaming.open_thread_sse_stream)
    open_thread_sse_stream_with_http_info = http_info(streaming.open_thread_sse_stream)
    open_thread_sse_stream_without_preload_content = raw(streaming.open_thread_sse_stream)

    open_thread_websocket_stream = data(streaming.open_thread_websocket_stream)
    open_thread_websocket_stream_with_http_info = http_info(streaming.open_thread_websocket_stream)
    open_thread_websocket_stream_without_preload_content = raw(streaming.open_thread_websocket_stream)

    send_thread_streaming_command = data(streaming.send_thread_streaming_command)
    send_thread_streaming_command_with_http_info = http_info(streaming.send_thread_streaming_command)
    send_thread_streaming_command_without_preload_content = raw(streaming.send_thread_streaming_command)
