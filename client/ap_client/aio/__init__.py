"""The same API for asyncio: `await BackgroundRunsApi(client).get_run(run_id)`.

Models, exceptions and `Configuration` are those of `ap_client`.
"""

from ap_client.aio.agents_api import AgentsApi
from ap_client.aio.background_runs_api import BackgroundRunsApi
from ap_client.aio.client import ApiClient, RESTResponse
from ap_client.aio.event_stream import EventStream
from ap_client.aio.runs_api import RunsApi
from ap_client.aio.runyard import RunHandle, Runyard, StoreHandle, ThreadHandle
from ap_client.aio.store_api import StoreApi
from ap_client.aio.streaming_api import StreamingApi
from ap_client.aio.thread_stream import Question, ThreadMessage, ThreadStream, ThreadSubscription
from ap_client.aio.threads_api import ThreadsApi
from ap_client.aio.webhooks_api import WebhooksApi

__all__ = [
    "AgentsApi",
    "ApiClient",
    "BackgroundRunsApi",
    "EventStream",
    "Question",
    "RESTResponse",
    "RunHandle",
    "RunsApi",
    "Runyard",
    "StoreApi",
    "StoreHandle",
    "StreamingApi",
    "ThreadHandle",
    "ThreadMessage",
    "ThreadStream",
    "ThreadSubscription",
    "ThreadsApi",
    "WebhooksApi",
]
