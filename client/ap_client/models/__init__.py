"""Every model of the protocol, each in a module of its own."""

from ap_client.models.agent import Agent
from ap_client.models.agent_capabilities import AgentCapabilities
from ap_client.models.agent_schema import AgentSchema
from ap_client.models.agent_schemas import AgentSchemas
from ap_client.models.config import Config
from ap_client.models.content import Content
from ap_client.models.content_one_of_inner import ContentOneOfInner
from ap_client.models.error_response import ErrorResponse
from ap_client.models.event_stream_request import EventStreamRequest
from ap_client.models.input import Input
from ap_client.models.item import Item
from ap_client.models.message import Message
from ap_client.models.message_any_block import MessageAnyBlock
from ap_client.models.message_text_block import MessageTextBlock
from ap_client.models.run import Run
from ap_client.models.run_create import RunCreate
from ap_client.models.run_search_request import RunSearchRequest
from ap_client.models.run_status import RunStatus
from ap_client.models.run_stream import RunStream
from ap_client.models.run_wait_response import RunWaitResponse
from ap_client.models.search_agents_request import SearchAgentsRequest
from ap_client.models.search_items_response import SearchItemsResponse
from ap_client.models.store_delete_request import StoreDeleteRequest
from ap_client.models.store_list_namespaces_request import StoreListNamespacesRequest
from ap_client.models.store_put_request import StorePutRequest
from ap_client.models.store_search_request import StoreSearchRequest
from ap_client.models.stream_mode import StreamMode
from ap_client.models.streaming_channel import StreamingChannel
from ap_client.models.streaming_command import StreamingCommand
from ap_client.models.streaming_command_response import StreamingCommandResponse
from ap_client.models.streaming_error_response import StreamingErrorResponse
from ap_client.models.streaming_event import StreamingEvent
from ap_client.models.streaming_success_response import StreamingSuccessResponse
from ap_client.models.streaming_success_response_meta import StreamingSuccessResponseMeta
from ap_client.models.thread import Thread
from ap_client.models.thread_checkpoint import ThreadCheckpoint
from ap_client.models.thread_create import ThreadCreate
from ap_client.models.thread_patch import ThreadPatch
from ap_client.models.thread_search_request import ThreadSearchRequest
from ap_client.models.thread_state import ThreadState
from ap_client.models.thread_status import ThreadStatus
from ap_client.models.webhook_delivery import WebhookDelivery
from ap_client.models.webhook_search_request import WebhookSearchRequest

__all__ = [
    "Agent",
    "AgentCapabilities",
    "AgentSchema",
    "AgentSchemas",
    "Config",
    "Content",
    "ContentOneOfInner",
    "ErrorResponse",
    "EventStreamRequest",
    "Input",
    "Item",
    "Message",
    "MessageAnyBlock",
    "MessageTextBlock",
    "Run",
    "RunCreate",
    "RunSearchRequest",
    "RunStatus",
    "RunStream",
    "RunWaitResponse",
    "SearchAgentsRequest",
    "SearchItemsResponse",
    "StoreDeleteRequest",
    "StoreListNamespacesRequest",
    "StorePutRequest",
    "StoreSearchRequest",
    "StreamMode",
    "StreamingChannel",
    "StreamingCommand",
    "StreamingCommandResponse",
    "StreamingErrorResponse",
    "StreamingEvent",
    "StreamingSuccessResponse",
    "StreamingSuccessResponseMeta",
    "Thread",
    "ThreadCheckpoint",
    "ThreadCreate",
    "ThreadPatch",
    "ThreadSearchRequest",
    "ThreadState",
    "ThreadStatus",
    "WebhookDelivery",
    "WebhookSearchRequest",
]
