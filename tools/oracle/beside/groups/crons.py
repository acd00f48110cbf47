"""Crons: made, found, changed, deleted. None fires while this looks."""

from __future__ import annotations

from typing import Any

from tools.oracle.beside.talk import Talk

UNKNOWN = "88888888-8888-4888-8888-888888888888"
CRON: dict[str, Any] = {"assistant_id": "one", "schedule": "0 0 1 1 *", "input": {"n": 1}}
FIELDS = ("cron_id", "assistant_id", "thread_id", "next_run_date", "end_time", "created_at", "updated_at")


def script(talk: Talk) -> None:
    made = talk.ask("create", "POST", "/runs/crons", {**CRON, "metadata": {"kind": "cron"}})
    one = talk.knows(made["cron_id"], "cron")
    bodies: dict[str, Any] = {
        "whole": {**CRON, "timezone": "Europe/Berlin", "end_time": "2099-01-01T00:00:00+00:00", "enabled": False,
                  "on_run_completed": "keep", "config": {"tags": ["a"]}, "context": {"x": 1}, "durability": "exit",
                  "stream_mode": ["values"], "interrupt_before": ["add"], "webhook": "https://example.com/hook"},
        "nulls": {**CRON, "metadata": None, "timezone": None, "end_time": None, "enabled": None, "config": None},
        "six fields": {**CRON, "schedule": "0 0 1 1 * 30"},
        "bad schedule": {**CRON, "schedule": "now and then"},
        "bad timezone": {**CRON, "timezone": "Mars/Base"},
        "bad end": {**CRON, "end_time": "soon"},
        "no schedule": {"assistant_id": "one"},
        "unknown assistant": {**CRON, "assistant_id": "nobody"},
        "bad completion": {**CRON, "on_run_completed": "hope"},
        "extra field": {**CRON, "colour": "red"},
    }  # fmt: skip
    for name, body in bodies.items():
        talk.ask(f"create: {name}", "POST", "/runs/crons", body)
    thread = talk.thread()
    talk.ask("create on a thread", "POST", f"/threads/{thread}/runs/crons", {**CRON, "multitask_strategy": "reject"})
    talk.ask("create on an unknown thread", "POST", f"/threads/{UNKNOWN}/runs/crons", CRON)
    talk.ask("get", "GET", f"/runs/crons/{one}")
    talk.ask("get unknown", "GET", f"/runs/crons/{UNKNOWN}")
    talk.ask("get bad", "GET", "/runs/crons/x")
    _search(talk, thread)
    patches: dict[str, Any] = {
        "schedule": {"schedule": "0 0 2 1 *"}, "disabled": {"enabled": False}, "enabled": {"enabled": True},
        "metadata": {"metadata": {"more": 1}}, "input": {"input": {"n": 2}}, "nothing": {},
        "end": {"end_time": "2098-01-01T00:00:00Z"}, "no end": {"end_time": None}, "timezone": {"timezone": "UTC"},
        "bad": {"schedule": "x"},
        "completion": {"on_run_completed": "keep"},
    }  # fmt: skip
    for name, body in patches.items():
        talk.ask(f"patch: {name}", "PATCH", f"/runs/crons/{one}", body)
    talk.ask("patch unknown", "PATCH", f"/runs/crons/{UNKNOWN}", {"enabled": False})
    talk.ask("delete", "DELETE", f"/runs/crons/{one}")
    talk.ask("delete again", "DELETE", f"/runs/crons/{one}")


def _search(talk: Talk, thread: str) -> None:
    mine: dict[str, Any] = {"metadata": {"kind": "cron"}}
    searches: dict[str, Any] = {
        "all of mine": mine, "of a thread": {"thread_id": thread}, "enabled": {**mine, "enabled": True},
        "disabled": {**mine, "enabled": False}, "by name": {"assistant_id": "one", "limit": 1},
        "select": {**mine, "select": ["cron_id", "schedule"]}, "bad select": {"select": ["colour"]},
        "limit 0": {"limit": 0}, "limit 1000": {**mine, "limit": 1000}, "limit 1001": {"limit": 1001},
        "behind": {**mine, "offset": 5}, "bad sort": {"sort_by": "colour"},
    }  # fmt: skip
    for name, body in searches.items():
        talk.ask(f"search: {name}", "POST", "/runs/crons/search", body)
    for sort in FIELDS:
        talk.ask(f"search: sort {sort}", "POST", "/runs/crons/search", {**mine, "sort_by": sort, "sort_order": "asc"})
    talk.ask("count", "POST", "/runs/crons/count", mine)
    talk.ask("count of a thread", "POST", "/runs/crons/count", {"thread_id": thread})
