"""The API, a class per kind of thing.

Each method has three forms: `m`, `m_with_http_info` (the answer with its status code and headers), and
`m_without_preload_content` (the raw answer, not read yet, whatever its status code).
"""

from ap_client.api.agents_api import AgentsApi
from ap_client.api.background_runs_api import BackgroundRunsApi
from ap_client.api.runs_api import RunsApi
from ap_client.api.store_api import StoreApi
from ap_client.api.streaming_api import StreamingApi
from ap_client.api.threads_api import ThreadsApi
from ap_client.api.webhooks_api import WebhooksApi

__all__ = ["AgentsApi", "BackgroundRunsApi", "RunsApi", "StoreApi", "StreamingApi", "ThreadsApi", "WebhooksApi"]
