"""Threads: create, list, look at, change, copy, delete, and their history."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw

from runyard import threads
from runyard.api import answers, wire
from runyard.api.call import Call
from runyard.api.operation import operation
from runyard.api.validation import canonical_uuid
from runyard.errors import NotFound
from runyard.lifecycle import PatchThread

_encode = msgspec.json.Encoder().encode


@operation("Threads", needs="write", body=wire.THREAD_CREATE, answer=answers.Thread, errors=(409,))
async def create_thread(call: Call) -> None:
    """Create Thread"""
    body = await call.body(wire.THREAD_CREATE)
    thread_id = None if body.thread_id is UNSET else canonical_uuid("thread_id", body.thread_id)
    metadata = {} if body.metadata is UNSET else body.metadata
    thread = await call.api.verbs.create_thread(call.owner, thread_id, metadata, body.if_exists)
    try:
        found = await call.api.verbs.get_thread(call.owner, thread.thread_id)
    except NotFound:
        # Deleted since: it was there all the same, and this is no 404.
        await call.answer(answers.thread(thread, {}))
        return
    await call.answer(answers.thread(*found))


@operation("Threads", needs="read", body=wire.THREAD_SEARCH, answer=list[answers.Thread])
async def search_threads(call: Call) -> None:
    """Search Threads

    Lists threads, newest first.
    """
    body = await call.body(wire.THREAD_SEARCH)
    found = await call.api.verbs.search_threads(
        call.owner,
        threads.ThreadFilter(
            metadata=None if body.metadata is UNSET else body.metadata,
            values=None if body.values is UNSET else body.values,
            status=None if body.status is UNSET else body.status,
            limit=body.limit,
            offset=body.offset,
        ),
    )
    await call.answer(answers.array(answers.thread(thread, state) for thread, state in found))


@operation("Threads", needs="read", answer=answers.Thread, errors=(404,))
async def get_thread(call: Call) -> None:
    """Get Thread

    A thread with its state; with the open questions where it is interrupted.
    """
    thread, state, questions = await call.api.verbs.get_thread(call.owner, call.uuid("thread_id"))
    await call.answer(answers.thread(thread, state, questions))


@operation("Threads", needs="write", body=wire.THREAD_PATCH, answer=answers.Thread, errors=(404, 409))
async def patch_thread(call: Call) -> None:
    """Patch Thread

    Merges metadata; merges values and messages into the state, as a new revision.
    """
    body = await call.body(wire.THREAD_PATCH)
    checkpoint = None
    if body.checkpoint is not UNSET:
        checkpoint = canonical_uuid("checkpoint.checkpoint_id", body.checkpoint.checkpoint_id)
    patch = PatchThread(
        checkpoint_id=checkpoint,
        metadata=None if body.metadata is UNSET else body.metadata,
        values=None if body.values is UNSET else {name: Raw(_encode(value)) for name, value in body.values.items()},
        messages=None if body.messages is UNSET else Raw(_encode(body.messages)),
    )
    changed = await call.api.verbs.patch_thread(call.owner, call.uuid("thread_id"), patch)
    await call.answer(answers.thread(*changed))


@operation("Threads", needs="write", errors=(404,))
async def delete_thread(call: Call) -> None:
    """Delete Thread

    Cancels the thread's runs and removes it with its runs and history.
    """
    await call.api.verbs.delete_thread(call.owner, call.uuid("thread_id"))
    await call.no_content()


@operation("Threads", needs="write", answer=answers.Thread, errors=(404,))
async def copy_thread(call: Call) -> None:
    """Copy Thread

    A new thread with the state and history of this one; runs are not copied.
    """
    copy = await call.api.verbs.copy_thread(call.owner, call.uuid("thread_id"))
    await call.answer(answers.thread(*copy))


@operation("Threads", needs="read", query=wire.HISTORY_QUERY, answer=list[answers.ThreadState], errors=(404,))
async def get_thread_history(call: Call) -> None:
    """Get Thread History

    The thread's past states, newest first.
    """
    query = call.query(wire.HISTORY_QUERY)
    before = None if query.before is UNSET else canonical_uuid("before", query.before)
    found = await call.api.verbs.history(call.owner, call.uuid("thread_id"), before, query.limit)
    await call.answer(answers.array(map(answers.thread_state, found)))
