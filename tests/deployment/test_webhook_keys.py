"""`webhooks` of a `langgraph.json`: where webhooks may go, and what goes with each."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from live_server import Server, play
from projects import Serve, Write
from receiver import receiving

from runyard.deployment import deployment, sources
from runyard.errors import InvalidInput

ALLOWED = {"webhook_allow": ("127.0.0.1",)}
HEADERS = {"X-Token": "Bearer ${{ env.LG_WEBHOOK_TOKEN }}", "X-Both": "${{env.LG_WEBHOOK_A}}-${{ env.LG_WEBHOOK_A }}"}


def test_headers_are_filled_from_the_environment_and_go_with_each_webhook(
    write: Write,
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("LG_WEBHOOK_TOKEN", "LG_WEBHOOK_A"):
        monkeypatch.setenv(name, "")  # so that what the file puts there goes again
        monkeypatch.delenv(name)
    target = write({"env": {"LG_WEBHOOK_TOKEN": "s3cret", "LG_WEBHOOK_A": "a"}, "webhooks": {"headers": HEADERS}})

    async def story() -> None:
        with receiving() as receiver, caplog.at_level(logging.DEBUG):
            async with serve(target, **ALLOWED) as s:
                for path in ("/runs/wait", "/langgraph/runs/wait"):
                    answer = await s.post(path, {_named(path): "echo", "input": {}, "webhook": receiver.url})
                    assert answer.status_code == 200, answer.text
                await s.until(lambda: len(receiver.messages) == 2)
                told = (await s.post("/webhooks/search")).text
        for message in receiver.messages:
            assert (message.headers["x-token"], message.headers["x-both"]) == ("Bearer s3cret", "a-a")
        assert "s3cret" not in told

    play(story())
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("runyard.db*"))
    assert kept
    assert b"s3cret" not in kept
    assert "s3cret" not in caplog.text
    assert "s3cret" not in repr(deployment(sources([target], tmp_path)))


def _named(path: str) -> str:
    return "assistant_id" if path.startswith("/langgraph") else "agent_id"


async def refusal(s: Server, url: str) -> Any:
    answer = await s.post("/runs", {"input": {}, "webhook": url})
    return answer.json()["message"] if answer.status_code == 422 else answer.status_code


def test_urls_out_of_bounds_are_refused_when_the_run_is_created(write: Write, serve: Serve) -> None:
    bounds = {"require_https": True, "allowed_domains": ["*.corp.example"], "allowed_ports": [443]}

    async def story() -> None:
        target = write({"webhooks": {"url": {**bounds, "max_url_length": 60, "disable_loopback": True}}})
        async with serve(target) as s:
            assert await refusal(s, "https://a.corp.example/x") == 200
            assert "must begin with https://" in await refusal(s, "http://a.corp.example:443/x")
            assert "must begin with https://" in await refusal(s, "/a/route")
            assert "allowed_domains" in await refusal(s, "https://corp.example/x")
            assert "allowed_ports" in await refusal(s, "https://a.corp.example:8443/x")
            assert "max_url_length" in await refusal(s, "https://a.corp.example/" + "x" * 60)
        async with serve(write({"webhooks": {"url": {"require_https": False}}}), webhook_https_only=True) as s:
            assert "must begin with https://" in await refusal(s, "http://a.corp.example/x")

    play(story())


def test_a_prefix_of_its_own_bounds_what_headers_may_hold(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_KEY", "k")
    monkeypatch.setenv("LG_WEBHOOK_BAD", "se\ncret")
    hooks = {"env_prefix": "HOOK_", "headers": {"X-Key": "${{ env.HOOK_KEY }}"}}
    assert deployment(sources([write({"webhooks": hooks})], tmp_path)).webhook_headers == {"x-key": "k"}
    with pytest.raises(InvalidInput, match="does not begin with HOOK_"):
        deployment(sources([write({"webhooks": {**hooks, "headers": {"x": "${{ env.LG_WEBHOOK_BAD }}"}}})], tmp_path))
    with pytest.raises(InvalidInput, match="holds what a header cannot") as caught:
        deployment(sources([write({"webhooks": {"headers": {"x": "${{ env.LG_WEBHOOK_BAD }}"}}})], tmp_path))
    assert "cret" not in str(caught.value)


def test_what_of_it_is_not_done_is_told(write: Write, tmp_path: Path) -> None:
    (found,) = sources([write({"webhooks": {"url": {"disable_loopback": False}, "retries": 3}})], tmp_path)
    assert [(remark.key, remark.weight) for remark in found.remarks] == [
        ("webhooks.retries", "warning"),
        ("webhooks.url.disable_loopback", "warning"),
    ]
