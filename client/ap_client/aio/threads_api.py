"""Conversations: their state and its history."""

from ap_client.aio.forms import Api, data, http_info, raw
from ap_client.operations import threads


class ThreadsApi(Api):
    """Conversations: their state and its history."""

    copy_thread = data(threads.copy_thread)
    copy_thread_with_http_info = http_info(threads.copy_thread)
    copy_thread_without_preload_content = raw(threads.copy_thread)

    create_thread = data(threads.create_thread)
    create_thread_with_http_info = http_info(threads.create_thread)
    create_thread_without_preload_content = raw(threads.create_thread)

    delete_thread = data(threads.delete_thread)
    delete_thread_with_http_info = http_info(threads.delete_thread)
    delete_thread_without_preload_content = raw(threads.delete_thread)

    get_thread = data(threads.get_thread)
    get_thread_with_http_info = http_info(threads.get_thread)
    get_thread_without_preload_content = raw(threads.get_thread)

    get_thread_history = data(threads.get_thread_history)
    get_thread_history_with_http_info = http_info(threads.get_thread_history)
    get_thread_history_without_preload_content = raw(threads.get_thread_history)

    patch_thread = data(threads.patch_thread)
    patch_thread_with_http_info = http_info(threads.patch_thread)
    patch_thread_without_preload_content = raw(threads.patch_thread)

    search_threads = data(threads.search_threads)
    search_threads_with_http_info = http_info(threads.search_threads)
    search_threads_without_preload_content = raw(threads.search_threads)
