"""`langsmith_tracer` of a request: where the trace of a run goes, where LangSmith traces graphs at all."""

from __future__ import annotations

from typing import Any

from langchain_core.tracers.context import tracing_v2_callback_var
from langgraph_sdk import get_sync_client
from receiver import receiving
from server_process import Serve, wait_until

from runyard.graphs import TRACE_EXAMPLE, TRACE_PROJECT
from runyard.runtime.langgraph.named_trace import named_trace

GRAPH = """
from typing import Any
from typing_extensions import TypedDict
from langchain_core.tracers.context import tracing_v2_callback_var
from langgraph.graph import END, START, StateGraph

class State(TypedDict, total=False):
    heard: Any
    tracer: Any

async def node(state: State) -> State:
    tracer = tracing_v2_callback_var.get()
    return {"tracer": None if tracer is None else [tracer.project_name, str(tracer.example_id)]}

graph = StateGraph(State).add_node("node", node).add_edge(START, "node").add_edge("node", END).compile()
"""
EXAMPLE = "01a20c2f-0000-7000-8000-00000000000b"


def traced(url: str, **asked: Any) -> Any:
    client = get_sync_client(url=f"{url}/langgraph", api_key=None)
    values: Any = client.runs.wait(None, "graph", input={"heard": "x"}, **asked)
    return values.get("tracer")


def test_a_trace_goes_where_the_request_says_where_anything_is_traced(serve: Serve, tmp_path: Any) -> None:
    (tmp_path / "traced.py").write_text(GRAPH)
    with receiving() as langsmith:
        env = {
            "LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "key", "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
            "LANGSMITH_ENDPOINT": langsmith.url, "LANGSMITH_PROJECT": "of-the-server",
        }  # fmt: skip
        server = serve(tmp_path / "traced.py", env=env)
        assert traced(server.url) is None, "by the environment alone"
        said = {"project_name": "of-the-client", "example_id": EXAMPLE}
        assert traced(server.url, langsmith_tracing=said) == ["of-the-client", EXAMPLE]

        def told(project: bytes) -> bool:
            return any(project in message.body for message in tuple(langsmith.messages))

        wait_until(lambda: told(b"of-the-server") and told(b"of-the-client"), "both are told", server.log_text)


def test_nothing_is_traced_where_the_environment_does_not_say_so() -> None:
    with named_trace({"configurable": {TRACE_PROJECT: "p", TRACE_EXAMPLE: EXAMPLE}}):
        assert tracing_v2_callback_var.get() is None
