"""Runs whose output is consumed by whoever creates them."""

from ap_client.aio.forms import Api, data, events, http_info, raw
from ap_client.operations import events as event_streams
from ap_client.operations import runs


class RunsApi(Api):
    """Runs whose output is consumed by whoever creates them."""

    create_and_stream_run = data(runs.create_and_stream_run)
    create_and_stream_run_with_http_info = http_info(runs.create_and_stream_run)
    create_and_stream_run_without_preload_content = raw(runs.create_and_stream_run)

    create_and_wait_run = data(runs.create_and_wait_run)
    create_and_wait_run_with_http_info = http_info(runs.create_and_wait_run)
    create_and_wait_run_without_preload_content = raw(runs.create_and_wait_run)

    create_and_stream_run_events = events(event_streams.create_and_stream_run_events)
