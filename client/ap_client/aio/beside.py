"""An async client beside a sync one: the same server, credentials and headers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from ap_client.aio.client import ApiClient, RESTResponse
from ap_client.call import Request
from ap_client.rest import RESTResponse as SyncResponse

if TYPE_CHECKING:
    from ap_client.api_client import ApiClient as SyncClient
    from ap_client.rest import RESTClientObject


def beside(client: "SyncClient") -> ApiClient:
    """A client with connections of its own; where the sync one sends over a given HTTP client, it does so too."""
    rest = client.rest_client
    made = ApiClient(client.configuration) if rest.owns_http else _Borrowing(client, rest)
    made.default_headers = dict(client.default_headers)
    made.cookie = client.cookie
    return made


class _Borrowing(ApiClient):
    """Sends over somebody's sync HTTP client, in threads."""

    def __init__(self, client: "SyncClient", rest: "RESTClientObject") -> None:
        super().__init__(client.configuration)
        self._rest = rest

    async def _send(self, request: Request) -> RESTResponse:
        return _Borrowed(await asyncio.to_thread(self._rest.send, request), request)


class _Borrowed(RESTResponse):
    """The answer of a sync HTTP client."""

    def __init__(self, answer: SyncResponse, request: Request) -> None:
        super().__init__(answer.raw, request)
        self._sync = answer

    async def read(self) -> bytes:
        return await asyncio.to_thread(lambda: self._sync.data)

    async def stream(self, amt: int | None = None) -> AsyncIterator[bytes]:
        pieces: Iterator[bytes] = self._sync.stream(amt)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    async def close(self) -> None:
        # A thread may be reading it.
        self._sync.hang_up()
        await asyncio.to_thread(self._sync.close)
