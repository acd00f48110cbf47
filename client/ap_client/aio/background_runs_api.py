"""Runs that go on without anybody waiting."""

from ap_client.aio.forms import Api, data, events, http_info, raw
from ap_client.operations import background_runs
from ap_client.operations import events as event_streams


class BackgroundRunsApi(Api):
    """Runs that go on without anybody waiting."""

    cancel_run = data(background_runs.cancel_run)
    cancel_run_with_http_info = http_info(background_runs.cancel_run)
    cancel_run_without_preload_content = raw(background_runs.cancel_run)

    create_run = data(background_runs.create_run)
    create_run_with_http_info = http_info(background_runs.create_run)
    create_run_without_preload_content = raw(background_runs.create_run)

    delete_run = data(background_runs.delete_run)
    delete_run_with_http_info = http_info(background_runs.delete_run)
    delete_run_without_preload_content = raw(background_runs.delete_run)

    get_run = data(background_runs.get_run)
    get_run_with_http_info = http_info(background_runs.get_run)
    get_run_without_preload_content = raw(background_runs.get_run)

    search_runs = data(background_runs.search_runs)
    search_runs_with_http_info = http_info(background_runs.search_runs)
    search_runs_without_preload_content = raw(background_runs.search_runs)

    search_thread_runs = data(background_runs.search_thread_runs)
    search_thread_runs_with_http_info = http_info(background_runs.search_thread_runs)
    search_thread_runs_without_preload_content = raw(background_runs.search_thread_runs)

    stream_run = data(background_runs.stream_run)
    stream_run_with_http_info = http_info(background_runs.stream_run)
    stream_run_without_preload_content = raw(background_runs.stream_run)

    wait_run = data(background_runs.wait_run)
    wait_run_with_http_info = http_info(background_runs.wait_run)
    wait_run_without_preload_content = raw(background_runs.wait_run)

    stream_run_events = events(event_streams.stream_run_events)
