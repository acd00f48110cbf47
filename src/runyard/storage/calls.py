"""What a call of an agent's store does, in the verbs of the storage contract."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from runyard.clock import Clock
from runyard.errors import RunyardError
from runyard.items import Item, Lasting
from runyard.runs import Attempt
from runyard.runtime.contract import StoreAnswer, StoreCall, StoreReply
from runyard.storage.contract import Storage

_MICROSECONDS_PER_MINUTE = 60e6


def answering(storage: Storage, clock: Clock, lasting: Lasting = Lasting()) -> StoreAnswer:
    """Does calls that belong to no attempt, and says by the reply what went wrong. Used in the storage's loop.

    The code of an attempt is told `lasting` when it begins; what belongs to none is not.
    """

    async def reply(owner: str, call: StoreCall) -> StoreReply:
        if call.method == "put" and call.ttl is None:
            call = msgspec.structs.replace(call, ttl=lasting.minutes)
        try:
            return await answer(storage, owner, call, clock.now())
        except RunyardError as error:
            return StoreReply(call.call, error=(error.reason, error.message))
        except Exception as error:  # without a reply the code would wait for ever
            return StoreReply(call.call, error=("internal_error", f"{type(error).__name__}: {error}"))

    return reply


async def answer(storage: Storage, owner: str, call: StoreCall, now: int, attempt: Attempt | None = None) -> StoreReply:
    """Does it, for an owner; what is written is fenced where there is an attempt.

    Raises:
        NotFound: what is to be read or deleted is not there.
        LeaseLost: the attempt is not the thread's any more.
    """
    match call.method:
        case "get":
            found = [await storage.get_item(owner, call.namespace, call.key, now)]
            await _touch(storage, owner, call, found, now, attempt)
            return StoreReply(call.call, found)
        case "put":
            expires_at = None if call.ttl is None else now + int(call.ttl * _MICROSECONDS_PER_MINUTE)
            await storage.put_item(
                owner,
                call.namespace,
                call.key,
                call.value,
                now,
                expires_at=expires_at,
                vectors=call.vectors,
                attempt=attempt,
            )
            return StoreReply(call.call)
        case "delete":
            await storage.delete_item(owner, call.namespace, call.key, now, attempt=attempt)
            return StoreReply(call.call)
        case "search":
            assert call.search is not None
            found = await storage.search_items(owner, call.search, now)
            await _touch(storage, owner, call, found, now, attempt)
            return StoreReply(call.call, found)
        case "namespaces":
            return StoreReply(call.call, namespaces=await storage.namespaces(owner, call.query, now))


async def _touch(
    storage: Storage, owner: str, call: StoreCall, found: Sequence[Item], now: int, attempt: Attempt | None
) -> None:
    places = [(item.namespace, item.key) for item in found if item.ttl is not None]
    if call.refresh and places:
        await storage.touch_items(owner, places, now, attempt=attempt)
