"""Who asks: bearer keys, and what each may do.

Keys are held and compared as SHA-256 digests, all of them on every request and in constant time, so that the time of a
refusal tells nothing about a key.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Literal, Protocol

import msgspec

from runyard.errors import Forbidden, Unauthorized

Scope = Literal["read", "write"]
Needs = Literal["nothing", "read", "write"]
"""What an operation asks of its caller."""


class KeyLike(Protocol):
    """A configured key: what `runyard.settings.ApiKey` is."""

    @property
    def key(self) -> str: ...
    @property
    def owner(self) -> str: ...
    @property
    def scope(self) -> Scope: ...


class Principal(msgspec.Struct, frozen=True):
    """On whose behalf a request acts, and how far that goes."""

    owner: str = ""
    scope: Scope = "write"


ANYONE = Principal()
"""The principal of every request where no keys are configured."""


class Keys:
    """The configured keys. Without any, everyone is the owner `""` and may write."""

    def __init__(self, keys: Iterable[KeyLike] = (), *, beside_auth: bool = False) -> None:
        """`beside_auth`: `Authorization` belongs to the deployment's own code, and keys come as `X-API-Key`."""
        self._beside_auth = beside_auth
        self._known = [(_digest(key.key.encode()), Principal(key.owner, key.scope)) for key in keys]

    def principal(self, headers: dict[bytes, bytes], needs: Needs) -> Principal:
        """The principal of a request with these headers.

        The key comes as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

        Raises:
            Unauthorized: no key, or an unknown one.
            Forbidden: the key may only read.
        """
        if not self._known or needs == "nothing":
            return ANYONE
        given = _digest(_presented(headers, self._beside_auth))
        found: Principal | None = None
        for digest, principal in self._known:
            if hmac.compare_digest(digest, given):
                found = principal
        if found is None:
            raise Unauthorized("a valid key is needed: send `Authorization: Bearer KEY`")
        if needs == "write" and found.scope != "write":
            raise Forbidden("this key has the scope read; the operation needs write", scope="read")
        return found


def _presented(headers: dict[bytes, bytes], beside_auth: bool) -> bytes:
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    if not beside_auth and scheme.lower() == b"bearer":
        return credentials.strip()
    key = headers.get(b"x-api-key")
    if key is None:
        raise Unauthorized("a key is needed: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
    return key.strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
