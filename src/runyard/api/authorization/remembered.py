"""Users who are known for a while, so that `authenticate` need not be asked by every request (`auth.cache` of a
`langgraph.json`)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from runyard.users import User

MOST = 1000
"""Users who are remembered where nobody says how many."""


class Remembered:
    """By the values of the headers that `keys` names; for `seconds`; `most` at a time, and who came first goes first.
    `now` is in microseconds. Headers are kept as digests only."""

    def __init__(self, keys: Sequence[str], seconds: float, most: int, now: Callable[[], int]) -> None:
        self._keys = [key.lower().encode("latin-1") for key in keys]
        self._lasting = int(seconds * 1e6)
        self._most = most
        self._now = now
        self._known: dict[bytes, tuple[int, User]] = {}

    def key_of(self, headers: Mapping[bytes, bytes]) -> bytes | None:
        """What a request is known by; None where it has none of the headers."""
        values = [headers.get(key) for key in self._keys]
        if all(value is None for value in values):
            return None
        digest = hashlib.sha256()
        for value in values:
            digest.update(b"-" if value is None else b"%d:%s" % (len(value), value))
        return digest.digest()

    def user(self, key: bytes) -> User | None:
        """Who has been let in by that key, as one request may use it: what a handler changes is not for others."""
        found = self._known.get(key)
        if found is None:
            return None
        if found[0] <= self._now():
            del self._known[key]
            return None
        return _copy(found[1])

    def remember(self, key: bytes, user: User) -> None:
        """`authenticate` has let a user in."""
        self._known.pop(key, None)
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = self._now() + self._lasting, _copy(user)


def _copy(user: User) -> User:
    return User({**user.to_dict(), "permissions": list(user.permissions)})
