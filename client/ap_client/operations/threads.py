"""Conversations: their state and its history."""

from collections.abc import Mapping
from typing import Any, Unpack

from ap_client.call import Call, Id, RequestOptions, body_of
from ap_client.models.thread import Thread
from ap_client.models.thread_create import ThreadCreate
from ap_client.models.thread_patch import ThreadPatch
from ap_client.models.thread_search_request import ThreadSearchRequest
from ap_client.models.thread_state import ThreadState


def create_thread(thread_create: ThreadCreate | Mapping[str, Any], **options: Unpack[RequestOptions]) -> Call[Thread]:
    """Create a thread.

    Raises ConflictException when one of that id exists, unless `if_exists` is `do_nothing`.
    """
    return Call("POST", "/threads", Thread, options, body=body_of(ThreadCreate, thread_create, "thread_create"))


def get_thread(thread_id: Id, **options: Unpack[RequestOptions]) -> Call[Thread]:
    """A thread with its current state. Raises NotFoundException when there is none of that id."""
    return Call("GET", "/threads/{thread_id}", Thread, options, ids={"thread_id": thread_id})


def patch_thread(
    thread_id: Id, thread_patch: ThreadPatch | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[Thread]:
    """Merge metadata, values or messages into a thread."""
    body = body_of(ThreadPatch, thread_patch, "thread_patch")
    return Call("PATCH", "/threads/{thread_id}", Thread, options, ids={"thread_id": thread_id}, body=body)


def delete_thread(thread_id: Id, **options: Unpack[RequestOptions]) -> Call[None]:
    """Delete a thread with its history and runs."""
    return Call("DELETE", "/threads/{thread_id}", type(None), options, ids={"thread_id": thread_id})


def copy_thread(thread_id: Id, **options: Unpack[RequestOptions]) -> Call[Thread]:
    """A new thread with the state and history of another."""
    return Call("POST", "/threads/{thread_id}/copy", Thread, options, ids={"thread_id": thread_id})


def get_thread_history(
    thread_id: Id, limit: int | None = None, before: str | None = None, **options: Unpack[RequestOptions]
) -> Call[list[ThreadState]]:
    """A thread's states, newest first; `before` a checkpoint id where given.

    The server's `limit` is 10 unless given.
    """
    path, query = "/threads/{thread_id}/history", {"limit": limit, "before": before}
    return Call("GET", path, list[ThreadState], options, ids={"thread_id": thread_id}, query=query)


def search_threads(
    thread_search_request: ThreadSearchRequest | Mapping[str, Any], **options: Unpack[RequestOptions]
) -> Call[list[Thread]]:
    """The threads whose metadata, values and status match, newest first."""
    body = body_of(ThreadSearchRequest, thread_search_request, "thread_search_request")
    return Call("POST", "/threads/search", list[Thread], options, body=body, idempotent=True)
