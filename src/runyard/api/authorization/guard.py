"""What one request was let at: it asks the handlers, once for each thing, and remembers what they said.

A thing that a request has made is its own; what it was let at by a write, it may read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from runyard.api.authorization.authority import Authority, Resource, Value
from runyard.api.authorization.filters import Pattern, shows, stamped
from runyard.errors import Forbidden, thread_not_found
from runyard.runs import Acting
from runyard.storage.contract import Storage
from runyard.users import User

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Guard:
    """One request, or one command of a connection that stays open."""

    def __init__(self, authority: Authority, user: User, storage: Storage) -> None:
        self.user = user
        self._authority = authority
        self._storage = storage
        self._said: dict[tuple[Any, ...], Pattern | None] = {}
        self._searched: dict[bytes, tuple[Pattern | None, Value]] = {}
        self._own: set[str] = set()
        self._written: set[str] = set()
        self._read: set[str] = set()

    @property
    def acting(self) -> Acting:
        """The user as plain data, for what executes on their behalf."""
        fields = self.user.to_dict()
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(fields, enc_hook=repr))
        return Acting(self.user.identity, [str(one) for one in self.user.permissions], plain)

    async def ask(self, resource: Resource, action: str, value: Value) -> Pattern | None:
        """What the handler says of something that is made or looked for. It may have changed `value`.

        Raises:
            Forbidden, Refused: it is not allowed.
        """
        return await self._authority.ask(self.user, resource, action, value)

    async def ask_once(self, resource: Resource, verb: str, **about: Any) -> Pattern | None:
        """The same of something that is there already, and is named: the handler is asked once."""
        key = (resource, verb, *sorted(about.items()))
        if key not in self._said:
            value = {name: as_uuid(one) for name, one in about.items()}
            self._said[key] = await self.ask(resource, verb, value)
        return self._said[key]

    async def ask_search(self, resource: Resource, value: Value) -> Pattern | None:
        """The same of a search: its pages and its count are one question."""
        asked = {name: one for name, one in value.items() if name not in ("limit", "offset")}
        key = msgspec.json.encode([resource, asked], enc_hook=str)
        if key not in self._searched:
            self._searched[key] = await self.ask(resource, "search", value), value
        pattern, seen = self._searched[key]
        value["metadata"] = seen.get("metadata")
        return pattern

    # threads

    def owns(self, thread_id: str) -> None:
        """The request has made that thread, or a run on it."""
        self._own.add(thread_id)

    def lets_write(self, thread_id: str) -> None:
        """The request was let at that thread, to change it."""
        self._written.add(thread_id)

    def lets_read(self, thread_id: str) -> None:
        """The request was let at that thread, to look at it."""
        self._read.add(thread_id)

    def may_read(self, thread_id: str) -> bool:
        """Whether it is known that the thread may be looked at."""
        return thread_id in self._own or thread_id in self._written or thread_id in self._read

    def may_write(self, thread_id: str) -> bool:
        """Whether it is known that the thread may be changed by what goes with a change that was allowed."""
        return thread_id in self._own or thread_id in self._written

    async def read(self, owner: str, thread_id: str, **about: Any) -> None:
        """Lets the request look at a thread that is there.

        Raises:
            NotFound: it is not there, or may not be seen.
            Forbidden, Refused.
        """
        if not self.may_read(thread_id):
            await self.check(owner, thread_id, await self.ask_once("threads", "read", thread_id=thread_id, **about))
            self.lets_read(thread_id)

    async def write(self, owner: str, thread_id: str, verb: str, **about: Any) -> None:
        """Lets the request do something to a thread that is there. Raises as `read`."""
        if thread_id not in self._own:
            await self.check(owner, thread_id, await self.ask_once("threads", verb, thread_id=thread_id, **about))
            self.lets_write(thread_id)

    async def check(self, owner: str, thread_id: str, pattern: Pattern | None) -> None:
        """Raises `NotFound` for a thread that is not there, or that a pattern does not show."""
        if pattern is not None and not await self.shows(owner, thread_id, pattern):
            raise thread_not_found(thread_id)

    async def shows(self, owner: str, thread_id: str, pattern: Pattern | None) -> bool:
        """Whether a thread is there, and a pattern shows it; hidden ones are there, too."""
        found = await self._storage.metadata_of(owner, thread_id)
        return found is not None and shows(_decode(found[0]), pattern)

    async def there(self, owner: str, thread_id: str) -> dict[str, Any] | None:
        """A thread's metadata; None where it is not there."""
        found = await self._storage.metadata_of(owner, thread_id)
        return None if found is None else _decode(found[0])


def changed(value: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a value as a handler left them: plain data, whatever it put there.

    Raises:
        Forbidden: they are none any more.
    """
    metadata = value.get("metadata")
    if metadata is None:
        return dict(before)
    try:
        found = msgspec.json.decode(msgspec.json.encode(metadata), type=dict[str, Any])
    except (msgspec.MsgspecError, TypeError) as error:
        raise Forbidden(f"the server's own rules failed: they made metadata that cannot be kept ({error})") from None
    return found


def made_under(metadata: Mapping[str, Any], pattern: Pattern | None) -> dict[str, Any]:
    """The metadata of something that is made under a pattern: what that asks for is put there where nothing is said of
    it.

    Raises:
        Forbidden: something else is said of it.
    """
    if pattern is None:
        return dict(metadata)
    whole = stamped(metadata, pattern)
    if not shows(whole, pattern):
        names = ", ".join(sorted(name for name in pattern if not shows(whole, {name: pattern[name]})))
        raise Forbidden(f"metadata: {names} is not what those who made it could see again", field="metadata")
    return whole


def as_uuid(value: Any) -> Any:
    """An id as handlers know it."""
    if not isinstance(value, str):
        return value
    try:
        return UUID(value)
    except ValueError:
        return value
