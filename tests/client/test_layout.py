"""The names and modules that the protocol's pages import from; and the two shells, side by side."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path

import ap_client
import pytest
from ap_client import aio

CLIENT = Path(ap_client.__file__).parent

MODULES = {
    "rest": ["ApiException", "RESTClientObject", "RESTResponse", "RESTResponseType"],
    "exceptions": ["OpenApiException", "ApiException", "NotFoundException", "ServiceException"],
    "configuration": ["Configuration"],
    "api_client": ["ApiClient"],
    "api_response": ["ApiResponse"],
    "api": ["AgentsApi", "BackgroundRunsApi", "RunsApi", "StoreApi", "StreamingApi", "ThreadsApi", "WebhooksApi"],
    "api.agents_api": ["AgentsApi"],
    "api.background_runs_api": ["BackgroundRunsApi"],
    "api.runs_api": ["RunsApi"],
    "api.store_api": ["StoreApi"],
    "api.streaming_api": ["StreamingApi"],
    "api.threads_api": ["ThreadsApi"],
}
MODELS = [
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
HANDLES = ["RunHandle", "Runyard", "StoreHandle", "ThreadHandle"]
STREAMS = ["Question", "ThreadMessage", "ThreadStream", "ThreadSubscription"]
ASYNC_SHELLS = [
    "beside.py", "client.py", "event_stream.py", "news.py", "sse_transport.py", "watching.py", "websocket_transport.py",
]  # fmt: skip
APIS = ["AgentsApi", "BackgroundRunsApi", "RunsApi", "StoreApi", "StreamingApi", "ThreadsApi", "WebhooksApi"]


@pytest.mark.parametrize("module", MODULES)
def test_documented_modules_hold_their_names(module: str) -> None:
    found = importlib.import_module(f"ap_client.{module}")
    assert [name for name in MODULES[module] if not hasattr(found, name)] == []


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_its_module_and_is_there_at_the_top(model: str) -> None:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", model).lower()
    found = getattr(importlib.import_module(f"ap_client.models.{snake}"), model)
    assert found is getattr(ap_client, model) is getattr(ap_client.models, model)


def test_what_is_exported_is_there_and_sorted() -> None:
    for module in (ap_client, ap_client.models, ap_client.api, aio):
        assert [name for name in module.__all__ if not hasattr(module, name)] == []
        assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("api", APIS + HANDLES + STREAMS)
def test_both_shells_have_the_same_methods(api: str) -> None:
    def methods(owner: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(value)).partition(" -> ")[0].replace("ap_client.aio.", "ap_client.")
            if callable(value)
            else "a property"
            for name, value in vars(owner).items()
            if not name.startswith("_")
        }

    assert methods(getattr(ap_client, api)) == methods(getattr(aio, api))


@pytest.mark.parametrize("api", APIS)
def test_every_method_has_three_forms_and_says_what_it_does(api: str) -> None:
    owner = getattr(ap_client, api)
    plain = {name for name in vars(owner) if not name.startswith("_") and not name.endswith("_events")}
    plain = {name for name in plain if not name.endswith(("_with_http_info", "_without_preload_content"))}
    for name in plain:
        for form in (name, f"{name}_with_http_info", f"{name}_without_preload_content"):
            assert inspect.getdoc(getattr(owner, form))


def test_the_version_is_the_distributions() -> None:
    project = tomllib.loads((CLIENT.parent / "pyproject.toml").read_text())["project"]
    assert ap_client.__version__ == project["version"]


def test_the_core_does_no_input_and_output() -> None:
    shells = {"rest.py", "api_client.py", "event_stream.py", "display.py", "loop_thread.py"} | {
        f"aio/{name}" for name in ASYNC_SHELLS
    }
    for path in CLIENT.rglob("*.py"):
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        }
        if str(path.relative_to(CLIENT)) not in shells:
            assert not imported & {"httpx2", "asyncio", "socket", "time", "threading"}, path
