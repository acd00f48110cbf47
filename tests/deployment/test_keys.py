"""`langgraph.json`: what of it is obeyed, what is told, what stops the start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from live_server import MovableClock, play
from projects import Serve, Write

from runyard.api.gate import Cors
from runyard.deployment import Deployment, deployment, sources
from runyard.errors import InvalidInput
from runyard.items import ItemSearch, Lasting
from runyard.runtime.langgraph.remarks import remarks

_EVERYTHING = ItemSearch()


def asked(*targets: str) -> Deployment:
    return deployment(sources(targets, Path.cwd()))


def test_a_file_that_says_nothing_asks_for_nothing(write: Write) -> None:
    assert asked(write({"graphs": {}})) == Deployment() == asked()


def test_every_key_is_obeyed_or_told_by_its_name() -> None:
    document = {
        "$schema": "https://langgra.ph/schema.json",
        "graphs": {"chat": {"path": "a.py:g", "description": "d", "colour": "red"}},
        "dependencies": ["."], "env": {}, "python_version": "3.12", "encryption": {"path": "e.py:e"}, "storee": {},
        "store": {"index": {"embed": "a:e", "dims": 3, "metric": "l2"}, "ttl": {"default_ttl": 5, "sweep_limit": 3}},
        "checkpointer": {"ttl": {"strategy": "keep_latest"}, "path": "c.py:c"},
        "http": {
            "app": "a.py:a", "cors": {"allow_origins": ["*"], "allow_origin": "x"}, "disable_mcp": True,
            "disable_ui": False, "configurable_headers": {"includes": ["x-*", "X-API-Key"]},
            "middleware_order": "auth_first",
        },
        "auth": {"path": "a.py:auth", "disable_studio_auth": False, "cache": {"cache_keys": ["authorization"]}},
        "ui": None,
    }  # fmt: skip
    told = {remark.key: remark.weight for remark in remarks(document)}
    assert told == {
        "python_version": "ok", "encryption": "warning", "storee": "warning", "store.index.metric": "warning",
        "store.ttl.sweep_limit": "ok", "checkpointer.path": "warning", "http.cors.allow_origin": "warning",
        "http.disable_mcp": "ok", "http.configurable_headers.includes": "warning", "auth.cache": "warning",
        "graphs.chat.colour": "warning", "http.middleware_order": "warning", "auth.disable_studio_auth": "ok",
    }  # fmt: skip
    whys = {remark.key: remark.why for remark in remarks(document)}
    assert "did you mean store?" in whys["storee"]
    assert "allow_origins" in whys["http.cors.allow_origin"]


def test_the_start_names_what_is_not_obeyed(write: Write, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    target = write({"graphs": {}, "encryption": {"path": "e.py:e"}, "python_version": "3.12"})

    async def story() -> None:
        with caplog.at_level(logging.WARNING):
            async with serve(target):
                pass
        assert caplog.text.count("langgraph.json key not obeyed") == 1
        assert "encryption" in caplog.text

    play(story())


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("{", "langgraph.json"),
        ({"http": {"app": "app.py"}}, "http.app is 'app.py': must be"),
        ({"http": {"app": "gone.py:app"}}, "gone.py does not exist"),
        ({"http": {"app": "app.py:gone"}}, "http.app: .*has no gone"),
        ({"http": {"app": "app.py:number"}}, "is int, no ASGI app"),
        ({"http": {"app": "app.py:broken", "mount_prefix": "api"}}, "mount_prefix"),
        ({"http": {"cors": {"allow_origin_regex": "("}}}, "no regular expression"),
        ({"store": {"ttl": {"default_ttl": -1}}}, "default_ttl"),
        ({"checkpointer": {"ttl": {"strategy": "burn"}}}, "strategy"),
        ({"env": ".env"}, "env names"),
        ({"webhooks": {"url": {"allowed_domains": ["https://x"]}}}, "webhooks.url.allowed_domains: 'https://x' must"),
        ({"webhooks": {"url": {"allowed_ports": [0]}}}, "allowed_ports"),
        ({"webhooks": {"headers": {"x y": "v"}}}, "no name of a header"),
        ({"webhooks": {"headers": {"Host": "v"}}}, "every webhook has already"),
        ({"webhooks": {"headers": {"Webhook-Signature": "v"}}}, "every webhook has already"),
        ({"webhooks": {"headers": {"x": "${{ env.HOME }}"}}}, "does not begin with LG_WEBHOOK_"),
        ({"webhooks": {"headers": {"x": "${{ env.LG_WEBHOOK_GONE }}"}}}, "the environment does not have"),
        ({"webhooks": {"headers": {"x": ""}}}, "webhooks.headers.x is empty"),
    ],
)  # fmt: skip
def test_what_does_not_fit_stops_the_start(write: Write, manifest: Any, said: str) -> None:
    target = write(manifest, **{"app.py": "number = 5\n"})
    with pytest.raises(InvalidInput, match=said):
        asked(target)


def test_two_files_may_not_contradict_each_other(write: Write) -> None:
    one = write({"http": {"cors": {"allow_origins": ["https://a.example"]}}})
    same = write({"http": {"cors": {"allow_origins": ["https://a.example"]}, "disable_store": True}}, "b.json")
    other = write({"http": {"cors": {"allow_origins": ["https://b.example"]}}}, "c.json")
    assert asked(one, same).cors == Cors(origins=("https://a.example",))
    assert asked(one, same).disabled == {"store"}
    with pytest.raises(InvalidInput, match=r"http\.cors is another one than in .*langgraph\.json"):
        asked(one, other)


def test_times_become_the_settings_that_nobody_has_changed(write: Write, serve: Serve) -> None:
    target = write(
        {
            "checkpointer": {"ttl": {"strategy": "delete", "default_ttl": 2, "sweep_interval_minutes": 10}},
            "store": {"ttl": {"default_ttl": 0.5, "refresh_on_read": False, "sweep_interval_minutes": 0.25}},
        }
    )
    found = asked(target)
    assert (found.thread_retention, found.sweep_interval, found.lasting) == (120.0, 15.0, Lasting(0.5, False))

    async def story() -> None:
        async with serve(target) as s:
            assert s.app.engine.terms.thread_retention == 120.0
            assert s.app.engine.terms.sweep_interval == 15.0
        async with serve(target, thread_retention=7.0, sweep_interval=3.0) as s:
            assert s.app.engine.terms.thread_retention == 7.0
            assert s.app.engine.terms.sweep_interval == 3.0

    play(story())


def test_histories_are_cut_by_their_age_where_the_file_says_so(write: Write, serve: Serve) -> None:
    target = write({"checkpointer": {"ttl": {"strategy": "keep_latest", "default_ttl": 2}}})

    async def story() -> None:
        clock = MovableClock()
        async with serve(target, clock=clock) as s:
            thread_id = await s.thread()
            for number in range(3):
                body = {"thread_id": thread_id, "input": number}
                assert (await s.post("/runs/wait", body)).status_code == 200

            async def told() -> list[Any]:
                clock.move(90)
                await s.app.engine.reaper.run_once()
                history = (await s.get(f"/threads/{thread_id}/history")).json()
                return [state["values"]["heard"] for state in history]

            assert await told() == [2, 1, 0]
            assert await told() == [2]
            assert (await s.get(f"/threads/{thread_id}")).json()["values"] == {"heard": 2}
        async with serve(target, thread_retention_strategy="keep_latest", thread_retention=7.0) as s:
            assert s.app.engine.terms.thread_retention == 7.0

    play(story())


def test_items_are_kept_as_long_as_the_file_says_unless_somebody_does(write: Write, serve: Serve) -> None:
    target = write({"store": {"ttl": {"default_ttl": 1, "refresh_on_read": True}}})
    minute = 60_000_000

    async def story() -> None:
        async with serve(target) as s:
            place = {"namespace": ["kept"], "key": "item"}

            async def ttl() -> int | None:
                return (await s.storage.get_item("", ("kept",), "item", s.verbs.clock.now())).ttl

            await s.http.put("/store/items", json={**place, "value": {}})
            assert await ttl() == minute
            await s.http.put("/store/items", json={**place, "value": {}, "ttl": 3})
            assert await ttl() == 3 * minute
            await s.post("/runs/wait", {"input": {"put": 1}})
            assert await ttl() == minute
            await s.post("/runs/wait", {"input": {"put": 1, "ttl": 2}})
            assert await ttl() == 2 * minute

    play(story())


@pytest.mark.parametrize("refresh", [True, False])
def test_reading_an_item_keeps_it_where_the_file_says_so(write: Write, serve: Serve, refresh: bool) -> None:
    target = write({"store": {"ttl": {"default_ttl": 1, "refresh_on_read": refresh}}})

    async def story() -> None:
        async with serve(target) as s:
            await s.http.put("/store/items", json={"namespace": ["kept"], "key": "item", "value": {}})
            put_at = s.verbs.clock.now()
            soon = put_at + 61_000_000
            assert (await s.get("/store/items?namespace=kept&key=item")).status_code == 200
            await s.post("/store/items/search", {"namespace_prefix": ["kept"]})
            found = await s.storage.search_items("", _EVERYTHING, put_at + 60_000_000)
            assert bool(found) is refresh, "read after it was put, it is there a minute after that"
            assert not await s.storage.search_items("", _EVERYTHING, soon + 60_000_000)

    play(story())


def test_groups_of_paths_are_left_out_of_both_faces(write: Write, serve: Serve) -> None:
    target = write({"http": {"disable_store": True, "disable_runs": True, "disable_meta": True}})

    async def story() -> None:
        async with serve(target) as s:
            for path in ("/runs/search", "/store/items/search", "/threads/" + "0" * 8 + "/runs", "/threads/x/commands"):
                assert (await s.post(path)).status_code == 404, path
            for path in ("/openapi.json", "/docs", "/metrics", "/langgraph/info", "/langgraph/docs"):
                assert (await s.get(path)).status_code == 404, path
            assert (await s.post("/threads")).status_code == 200
            assert (await s.get("/ok")).status_code == (await s.get("/langgraph/ok?check_db=1")).status_code == 200
        async with serve(write({"http": {"disable_store": True}})) as s:
            assert not [path for path in (await s.get("/openapi.json")).json()["paths"] if path.startswith("/store")]

    play(story())


def test_everything_is_below_a_prefix_but_what_machines_ask(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"mount_prefix": "/api/"}})) as s:
            assert (await s.post("/api/threads")).status_code == 200
            assert (await s.get("/api/langgraph/info")).status_code == 200
            made = await s.post("/api/runs", {"input": 1})
            assert made.headers["location"] == f"/api/runs/{made.json()['run_id']}"
            assert (await s.get("/ok")).status_code == (await s.get("/ready")).status_code == 200
            assert (await s.post("/threads")).status_code == (await s.get("/apix")).status_code == 404
            assert (await s.get("/nothing")).json()["code"] == "not_found"

    play(story())


def test_without_webhooks_a_run_has_none(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"http": {"disable_webhooks": True}})) as s:
            run = await s.run(input=1, webhook="https://example.com/hook")
            assert "webhook" not in run
            await s.wait(run["run_id"])
            assert (await s.post("/webhooks/search")).json() == []

    play(story())
