"""Under the rule that everything is its maker's, nobody gets at what is somebody else's, by no route of either face. A
route that no handler is asked about fails here."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from auth_attempts import FACES, SECRET, STREAMS, Attempt, Watch, attempts, sockets, things_of, tried, world
from live_server import play
from projects import Guard, Guarded


@pytest.mark.parametrize("face", FACES)
def test_no_route_gives_or_changes_what_is_somebody_elses(guard: Guard, face: str) -> None:
    async def story() -> None:
        async with guard("own") as s:
            things = await things_of(s, "ada")
            before = await world(s, "ada", things)
            for attempt in attempts(face, things):
                s.rules.ASKED.clear()
                status, text = await tried(s, "bob", attempt)
                asked = [(resource, action) for who, resource, action, _ in s.rules.ASKED if who == "bob"]
                about = f"{attempt.operation}: {status} {text[:300]}"
                assert SECRET not in text, about
                assert asked, f"nobody was asked who may do it: {about}"
                assert status < 500, about
                assert await world(s, "ada", things) == before, f"it changed what is ada's: {about}"

    play(story())


@pytest.mark.parametrize("face", FACES)
def test_what_is_somebody_elses_is_as_if_it_were_not_there(guard: Guard, face: str) -> None:
    """Not even by its status may a foreign thing be told from one that does not exist."""

    async def story() -> None:
        async with guard("own") as s:
            things = await things_of(s, "ada")
            new = things._replace(
                thread_id=_other(things.thread_id), run_id=_other(things.run_id),
                stateless_id=_other(things.stateless_id), assistant_id=_other(things.assistant_id),
                cron_id=_other(things.cron_id), delivery_id="msg_0", checkpoint_id=_other(things.checkpoint_id),
            )  # fmt: skip
            names = ("{thread_id}", "{run_id}", "{assistant_id}", "{cron_id}", "{delivery_id}")
            rows = [(path, op) for path, ops in FACES[face].table for op in ops.values()]
            named = {op.id for path, op in rows if any(name in path for name in names)}
            for there, absent in zip(attempts(face, things), attempts(face, new), strict=True):
                if there.operation in named and there.operation not in STREAMS:
                    status, text = await tried(s, "bob", there)
                    expected, other = await tried(s, "bob", absent)
                    assert status == expected, f"{there.operation}: {text[:200]} {other[:200]}"

    play(story())


def _other(id: str) -> str:
    return id[:-1] + ("0" if id[-1] != "0" else "1")


@pytest.mark.parametrize("when", ["before it is made", "afterwards"])
def test_a_thread_is_watched_by_who_may_see_it_whenever_it_is_made(guard: Guard, when: str) -> None:
    thread_id = "019b0000-0000-7000-8000-00000000000a"
    body = {"channels": ["values", "lifecycle", "custom"]}

    async def story() -> None:
        async with guard("own") as s:
            if when == "afterwards":
                await s.thread("ada", thread_id=thread_id)
            paths = (f"/threads/{thread_id}/stream", f"/langgraph/threads/{thread_id}/stream/events")
            watches = {
                (who, path): Watch(s, who, Attempt("open", "POST", path, body, {}))
                for who in ("ada", "bob") for path in paths
            }  # fmt: skip
            await s.server.until(lambda: all(watch.text for watch in watches.values()))
            if when != "afterwards":
                await s.thread("ada", thread_id=thread_id)
            await s.post("ada", f"/threads/{thread_id}/runs/wait", {"input": SECRET})
            await s.server.until(lambda: all(watches["ada", path].text.count("completed") for path in paths))
            for (who, path), watch in watches.items():
                await watch.leave()
                assert watch.status == 200
                assert (SECRET in watch.text) is (who == "ada"), f"{who} {path} {watch.text}"

    play(story())


class Talk:
    """A WebSocket of somebody."""

    def __init__(self, s: Guarded, who: str, path: str) -> None:
        self.told: list[dict[str, Any]] = []
        """The messages of the server."""
        self._asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"testserver"), (b"authorization", f"Bearer {who}".encode())], "scheme": "ws",
            "server": ("testserver", 80), "subprotocols": [],
        }  # fmt: skip
        self.handling = asyncio.ensure_future(s.server.app(scope, self._asked.get, self._send))

    async def _send(self, message: dict[str, Any]) -> None:
        self.told.append(json.loads(message["text"]) if "text" in message else message)

    async def command(self, s: Guarded, id: int, method: str, **params: Any) -> dict[str, Any]:
        """The response to a command."""
        text = json.dumps({"id": id, "method": method, "params": params})
        self._asked.put_nowait({"type": "websocket.receive", "text": text})
        await s.server.until(lambda: any(one.get("id") == id for one in self.told) or self.handling.done())
        return next(one for one in self.told if one.get("id") == id)

    async def leave(self) -> None:
        self._asked.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self.handling


@pytest.mark.parametrize("face", FACES)
def test_a_web_socket_tells_and_does_nothing_on_what_is_somebody_elses(guard: Guard, face: str) -> None:
    assistant = {"assistant_id": "echo", "assistantId": "echo"}

    async def story() -> None:
        async with guard("own") as s:
            things = await things_of(s, "ada")
            before = await world(s, "ada", things)
            (path,) = sockets(face, things)
            talk, own = Talk(s, "bob", path), Talk(s, "ada", path)
            commands: dict[str, dict[str, Any]] = {
                "subscription.subscribe": {"channels": ["values", "lifecycle"], "since": 0},
                "run.start": {**assistant, "input": "x"},
                "input.respond": {"interrupt_id": "q", "interruptId": "q", "response": 1},
                "input.inject": {"message": {"role": "user", "content": "x"}},
                "agent.getTree": {},
                "state.get": {},
                "state.listCheckpoints": {},
                "state.fork": {"checkpoint_id": things.checkpoint_id, "checkpointId": things.checkpoint_id},
                "subscription.reconnect": {"run_id": things.run_id, "runId": things.run_id},
            }
            for id, (method, params) in enumerate(commands.items()):
                s.rules.ASKED.clear()
                answer = await talk.command(s, id, method, **params)
                assert (answer["type"] == "success") is (method == "subscription.subscribe"), answer
                assert s.rules.ASKED or method == "subscription.subscribe", "it was asked when the socket was opened"
            assert await world(s, "ada", things) == before
            await own.command(s, 1, "subscription.subscribe", channels=["values", "lifecycle"], since=0)
            assert (await own.command(s, 2, "run.start", **assistant, input=SECRET))["type"] == "success"
            await s.server.until(lambda: json.dumps(own.told).count("completed") > 1)
            await asyncio.gather(talk.leave(), own.leave())
            assert SECRET in json.dumps(own.told)
            assert SECRET not in json.dumps(talk.told)

    play(story())


def test_a_web_socket_of_nobody_is_refused(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            things = await things_of(s, "ada")
            for face in FACES:
                talk = Talk(s, "", sockets(face, things)[0])
                await talk.handling
                assert [one["type"] for one in talk.told] == ["websocket.close"]

    play(story())


def test_who_makes_a_thread_anew_is_not_watched_by_who_had_it(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            thread_id = await s.thread("ada")
            body = {"channels": ["values", "lifecycle"]}
            watch = Watch(s, "ada", Attempt("open", "POST", f"/threads/{thread_id}/stream", body, {}))
            await s.server.until(lambda: bool(watch.text))
            await s.post("ada", f"/threads/{thread_id}/runs/wait", {"input": "first"})
            await s.server.until(lambda: "completed" in watch.text)
            assert (await s.ask("ada", "DELETE", f"/threads/{thread_id}")).status_code == 204
            await s.thread("bob", thread_id=thread_id)
            barrier = Watch(s, "bob", Attempt("open", "POST", f"/threads/{thread_id}/stream", body, {}))
            await s.server.until(lambda: bool(barrier.text))
            await s.post("bob", f"/threads/{thread_id}/runs/wait", {"input": SECRET})
            await s.server.until(lambda: "completed" in barrier.text)
            await asyncio.gather(watch.leave(), barrier.leave())
            assert SECRET in barrier.text
            assert "first" in watch.text
            assert SECRET not in watch.text

    play(story())


def test_the_same_key_of_two_users_makes_two_runs(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            key = {"headers": {"Idempotency-Key": "k"}}
            made = {who: (await s.post(who, "/runs", {"input": 1}, **key)).json()["run_id"] for who in ("ada", "bob")}
            assert made["ada"] != made["bob"]
            again = await s.post("ada", "/runs", {"input": 1}, **key)
            assert (again.json()["run_id"], again.headers["idempotent-replayed"]) == (made["ada"], "true")

    play(story())


def test_who_may_look_at_a_thread_is_told_how_its_run_failed(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            thread_id = await s.thread("ada")
            wish = {"assistant_id": "echo", "input": {"put": True, "ttl": -1}}
            failed = await s.post("ada", f"/langgraph/threads/{thread_id}/runs/wait", wish)
            s.rules.ASKED.clear()
            told = (await s.get("ada", f"/langgraph/threads/{thread_id}")).json()
            assert (told["status"], told["error"]) == ("error", failed.json()["__error__"])
            assert [(resource, action) for _, resource, action, _ in s.rules.ASKED] == [("threads", "read")]

    play(story())


def test_lists_are_whole_pages_of_what_may_be_seen(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            mine: list[str] = []
            for number in range(9):
                who = ("ada", "bob", "eve")[number % 3]
                thread_id = await s.thread(who, metadata={"kind": "x" if number < 6 else "y"})
                await s.post(who, f"/threads/{thread_id}/runs/wait", {"input": 1})
                mine += [thread_id] if who == "bob" else []
            mine.reverse()

            async def pages(path: str, key: str, **body: object) -> list[list[str]]:
                found = [
                    (await s.post("bob", path, {"limit": 2, "offset": offset, **body})).json() for offset in (0, 2)
                ]
                return [[one[key] for one in page] for page in found]

            for base in ("", "/langgraph"):
                assert await pages(f"{base}/threads/search", "thread_id") == [mine[:2], mine[2:]]
                assert await pages(f"{base}/threads/search", "thread_id", metadata={"kind": "x"}) == [mine[1:], []]
                # The rule puts the owner there whatever is asked for.
                adas = await pages(f"{base}/threads/search", "thread_id", metadata={"owner": "ada"})
                assert adas == [mine[:2], mine[2:]]
            assert await pages("/runs/search", "thread_id") == [mine[:2], mine[2:]]
            assert (await s.post("bob", "/langgraph/threads/count")).json() == 3
            answer = await s.post("bob", "/langgraph/threads/search", {"limit": 2})
            assert (answer.headers["x-pagination-total"], answer.headers["x-pagination-next"]) == ("3", "2")

    play(story())


def test_a_thread_that_a_run_makes_is_its_makers(guard: Guard) -> None:
    thread_id = "019b0000-0000-7000-8000-00000000000b"

    async def story() -> None:
        async with guard({"threads.create_run": lambda ctx, value: {"owner": ctx.user.identity}, "*": "own"}) as s:
            run = {"input": 1, "if_not_exists": "create"}
            made = await s.post("ada", f"/threads/{thread_id}/runs/wait", run)
            assert made.status_code == 200, made.text
            assert (await s.get("ada", f"/threads/{thread_id}")).json()["metadata"] == {"owner": "ada"}
            assert (await s.post("bob", f"/threads/{thread_id}/runs/wait", run)).status_code == 404
            assert (await s.get("bob", f"/threads/{thread_id}")).status_code == 404

    play(story())


def test_nothing_is_made_that_its_maker_could_not_see_or_that_another_could(guard: Guard) -> None:
    async def story() -> None:
        async with guard({"*": lambda ctx, value: {"owner": ctx.user.identity}}) as s:
            thread_id = await s.thread("ada")
            assert (await s.get("ada", f"/threads/{thread_id}")).json()["metadata"] == {"owner": "ada"}
            for method, path in (("POST", "/threads"), ("PATCH", f"/threads/{thread_id}")):
                refused = await s.ask("ada", method, path, {"metadata": {"owner": "bob"}})
                assert (refused.status_code, refused.json()["metadata"]) == (403, {"field": "metadata"})
            item = {"namespace": ["a"], "key": "b"}
            assert (await s.ask("ada", "PUT", "/store/items", {**item, "value": {"n": 1}})).status_code == 204
            assert (await s.ask("bob", "PUT", "/store/items", {**item, "value": {"n": 2}})).status_code == 403
            assert (await s.ask("bob", "DELETE", "/store/items", item)).status_code == 404
            found = await s.get("ada", "/store/items?namespace=a&key=b")
            assert found.json()["value"] == {"n": 1, "owner": "ada"}

    play(story())


def test_a_copy_is_its_makers_from_the_first_moment(guard: Guard) -> None:
    async def story() -> None:
        async with guard({"threads": "own", "threads.read": None}) as s:
            thread_id = await s.thread("ada", metadata={"a": 1})
            for base in ("", "/langgraph"):
                copy = (await s.post("bob", f"{base}/threads/{thread_id}/copy")).json()
                assert copy["metadata"] == {"a": 1, "owner": "bob"}
                found = (await s.post("bob", "/threads/search")).json()
                assert copy["thread_id"] in [thread["thread_id"] for thread in found]
            assert [thread["thread_id"] for thread in (await s.post("ada", "/threads/search")).json()] == [thread_id]

    play(story())


def test_how_long_a_thread_is_kept_is_its_makers_matter(guard: Guard) -> None:
    async def story() -> None:
        async with guard("own") as s:
            made = await s.post("ada", "/langgraph/threads", {"ttl": {"ttl": 5, "strategy": "keep_latest"}})
            at = f"/langgraph/threads/{made.json()['thread_id']}"
            assert (await s.get("bob", f"{at}?include=ttl")).status_code == 404
            assert (await s.ask("bob", "PATCH", at, {"ttl": 1})).status_code == 404
            assert (await s.get("ada", f"{at}?include=ttl")).json()["ttl"]["ttl_minutes"] == 5
            assert (await s.ask("ada", "PATCH", at, {"ttl": None})).status_code == 200
            assert (await s.get("ada", f"{at}?include=ttl")).json()["ttl"] is None

    play(story())


def test_members_of_a_list_share_what_names_them(guard: Guard) -> None:
    async def story() -> None:
        async with guard({"*": lambda ctx, value: {"members": {"$contains": ctx.user.identity}}}) as s:
            thread_id = await s.thread("ada", metadata={"members": ["ada", "bob"]})
            own = await s.thread("ada")
            assert (await s.get("ada", f"/threads/{own}")).json()["metadata"] == {"members": ["ada"]}
            for who, status in (("ada", 200), ("bob", 200), ("eve", 404)):
                assert (await s.get(who, f"/threads/{thread_id}")).status_code == status
                found = [thread["thread_id"] for thread in (await s.post(who, "/threads/search")).json()]
                assert (thread_id in found) is (status == 200)
            assert (await s.ask("bob", "PATCH", f"/threads/{thread_id}", {"metadata": {"a": 1}})).status_code == 200
            patched = (await s.get("ada", f"/threads/{thread_id}")).json()["metadata"]
            assert patched == {"members": ["ada", "bob"], "a": 1}

    play(story())


def test_the_store_is_where_handlers_put_it(guard: Guard) -> None:
    def scope(ctx: object, value: dict[str, object]) -> None:
        value["namespace"] = (ctx.user.identity, *(value["namespace"] or ()))  # type: ignore[attr-defined, misc]

    async def story() -> None:
        async with guard({"store": scope}) as s:
            for who in ("ada", "bob"):
                item = {"namespace": ["notes"], "key": "k", "value": {"by": who}, "ttl": 5}
                assert (await s.ask(who, "PUT", "/store/items", item)).status_code == 204
            for who in ("ada", "bob"):
                for base in ("", "/langgraph"):
                    got = (await s.get(who, f"{base}/store/items?namespace=notes&key=k")).json()
                    assert (got["value"], got["namespace"]) == ({"by": who}, [who, "notes"])
                    found = (await s.post(who, f"{base}/store/items/search", {"namespace_prefix": []})).json()["items"]
                    assert [one["value"] for one in found] == [{"by": who}]
                    spaces = (await s.post(who, f"{base}/store/namespaces")).json()
                    assert json.dumps(spaces).count("notes") == 1
            gone = {"namespace": ["notes"], "key": "k"}
            assert (await s.ask("ada", "DELETE", "/store/items", gone)).status_code == 204
            assert (await s.get("bob", "/store/items?namespace=notes&key=k")).status_code == 200

    play(story())
