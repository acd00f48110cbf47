"""The route table of the LangGraph dialect, on one screen."""

from __future__ import annotations

from runyard.api import openapi
from runyard.api.described import described
from runyard.api.faces import Table
from runyard.api.langgraph import assistants, crons, runs, states, store, streaming, system, threads
from runyard.api.langgraph.problems import ErrorDetail
from runyard.api.system import ready

ABOUT = openapi.About(
    "Runyard: LangGraph dialect",
    "The API of LangGraph servers, for clients that speak it.",
    ErrorDetail,
)
openapi_document, docs = described(lambda: ROUTES, ABOUT)

ROUTES: Table = (
    ("/assistants", {"POST": assistants.create_assistant}),
    ("/assistants/search", {"POST": assistants.search_assistants}),
    ("/assistants/count", {"POST": assistants.count_assistants}),
    ("/assistants/{assistant_id}", {"GET": assistants.get_assistant, "PATCH": assistants.patch_assistant,
                                    "DELETE": assistants.delete_assistant}),
    ("/assistants/{assistant_id}/graph", {"GET": assistants.get_assistant_graph}),
    ("/assistants/{assistant_id}/subgraphs", {"GET": assistants.get_assistant_subgraphs}),
    ("/assistants/{assistant_id}/subgraphs/{namespace}", {"GET": assistants.get_assistant_subgraph}),
    ("/assistants/{assistant_id}/schemas", {"GET": assistants.get_assistant_schemas}),
    ("/assistants/{assistant_id}/versions", {"POST": assistants.list_assistant_versions}),
    ("/assistants/{assistant_id}/latest", {"POST": assistants.set_latest_assistant_version}),
    ("/threads", {"POST": threads.create_thread}),
    ("/threads/search", {"POST": threads.search_threads}),
    ("/threads/count", {"POST": threads.count_threads}),
    ("/threads/prune", {"POST": threads.prune_threads}),
    ("/threads/{thread_id}", {
        "GET": threads.get_thread, "PATCH": threads.patch_thread, "DELETE": threads.delete_thread,
    }),
    ("/threads/{thread_id}/storage", {"GET": threads.get_thread_storage}),
    ("/threads/{thread_id}/copy", {"POST": threads.copy_thread}),
    ("/threads/{thread_id}/state", {"GET": states.get_state, "POST": states.update_state}),
    ("/threads/{thread_id}/state/checkpoint", {"POST": states.post_state_at}),
    ("/threads/{thread_id}/state/{checkpoint_id}", {"GET": states.get_state_at}),
    ("/threads/{thread_id}/history", {"GET": states.get_history, "POST": states.post_history}),
    ("/threads/{thread_id}/stream", {"GET": streaming.join_thread_stream}),
    ("/threads/{thread_id}/stream/events", {
        "POST": streaming.open_thread_event_stream, "GET": streaming.open_thread_event_socket,
    }),
    ("/threads/{thread_id}/commands", {"POST": streaming.send_thread_command}),
    ("/threads/{thread_id}/runs", {"POST": runs.create_thread_run, "GET": runs.list_runs}),
    ("/threads/{thread_id}/runs/wait", {"POST": runs.wait_thread_run}),
    ("/threads/{thread_id}/runs/stream", {"POST": runs.stream_thread_run}),
    ("/threads/{thread_id}/runs/crons", {"POST": crons.create_thread_cron}),
    ("/threads/{thread_id}/runs/{run_id}", {"GET": runs.get_run, "DELETE": runs.delete_run}),
    ("/threads/{thread_id}/runs/{run_id}/join", {"GET": runs.join_run}),
    ("/threads/{thread_id}/runs/{run_id}/stream", {"GET": runs.join_run_stream}),
    ("/threads/{thread_id}/runs/{run_id}/cancel", {"POST": runs.cancel_run}),
    ("/runs", {"POST": runs.create_run}),
    ("/runs/wait", {"POST": runs.wait_run}),
    ("/runs/stream", {"POST": runs.stream_run}),
    ("/runs/batch", {"POST": runs.create_runs}),
    ("/runs/cancel", {"POST": runs.cancel_runs}),
    ("/runs/crons", {"POST": crons.create_cron}),
    ("/runs/crons/search", {"POST": crons.search_crons}),
    ("/runs/crons/count", {"POST": crons.count_crons}),
    ("/runs/crons/{cron_id}", {"GET": crons.get_cron, "PATCH": crons.patch_cron, "DELETE": crons.delete_cron}),
    ("/runs/{run_id}", {
        "GET": runs.get_run.named("get_stateless_run"), "DELETE": runs.delete_run.named("delete_stateless_run"),
    }),
    ("/runs/{run_id}/join", {"GET": runs.join_run.named("join_stateless_run")}),
    ("/runs/{run_id}/stream", {"GET": runs.join_run_stream.named("join_stateless_run_stream")}),
    ("/runs/{run_id}/cancel", {"POST": runs.cancel_run.named("cancel_stateless_run")}),
    ("/store/items", {"GET": store.get_item, "PUT": store.put_item, "DELETE": store.delete_item}),
    ("/store/items/search", {"POST": store.search_items}),
    ("/store/namespaces", {"POST": store.list_namespaces}),
    ("/", {"GET": system.ok.named("root")}),
    ("/ok", {"GET": system.ok}),
    ("/ready", {"GET": ready}),
    ("/info", {"GET": system.info}),
    ("/metrics", {"GET": system.metrics}),
    ("/openapi.json", {"GET": openapi_document}),
    ("/docs", {"GET": docs}),
)  # fmt: skip
