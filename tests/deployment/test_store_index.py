"""`store.index` of a `langgraph.json`: items that are found over HTTP by what they mean, and what goes wrong there."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from ap_client.models import SearchItemsResponse, StorePutRequest, StoreSearchRequest
from live_server import Server, play
from postgres_server import Postgres
from projects import Guard, Serve, Write, module_in

from runyard.api.embedding import Embedding
from runyard.deployment import deployment, sources
from runyard.errors import EmbeddingTimeout, InvalidInput, Unsupported
from runyard.runtime.index import Texts
from runyard.runtime.langgraph.index import EmbeddingIndex
from runyard.storage.sqlite import adapter as sqlite_adapter

TOY = (Path(__file__).parent / "toy_embedding.py").read_text()
AGENTS = Path(__file__).with_name("meaning_agents.py")
DIALECT, NATIVE = "/langgraph/store/items", "/store/items"
FACES = pytest.mark.parametrize("items", [DIALECT, NATIVE])


def indexed(write: Write, embed: str = "./toy.py:embed", fields: list[str] | None = None, **more: Any) -> str:
    """A project with an index."""
    index = {"embed": embed, "dims": 64, **({} if fields is None else {"fields": fields}), **more}
    return write({"graphs": {}, "store": {"index": index}}, **{"toy.py": TOY})


async def put(s: Server, items: str, key: str, value: dict[str, Any], space: str = "facts", **more: Any) -> Any:
    return await s.http.put(items, json={"namespace": [space], "key": key, "value": value, **more})


async def found(s: Server, items: str, query: str | None = None, **more: Any) -> list[tuple[str, float | None]]:
    asked = {} if query is None else {"query": query}
    answer = await s.http.post(f"{items}/search", json={"namespace_prefix": ["facts"], **asked, **more})
    assert answer.status_code == 200, answer.text
    return [
        (item["key"], None if item.get("score") is None else round(item["score"], 3)) for item in answer.json()["items"]
    ]


FORMS = [
    ("./toy.py:embed", DIALECT),
    ("./toy.py:aembed", NATIVE),
    ("./toy.py:words", DIALECT),
    ("toy_module:embed", NATIVE),
]


@pytest.mark.parametrize(("embed", "items"), FORMS)
def test_items_are_found_by_what_they_mean(
    write: Write, serve: Serve, embed: str, items: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_module.py").write_text(TOY)
    monkeypatch.delitem(sys.modules, "toy_module", raising=False)

    async def story() -> None:
        async with serve(indexed(write, embed, ["text"])) as s:
            assert (await put(s, items, "tea", {"text": "I drink green tea", "n": 1})).status_code == 204
            await put(s, items, "sea", {"text": "I live by the sea", "n": 2})
            await put(s, items, "both", {"text": "green tea by the green sea", "n": 3})
            await put(s, items, "none", {"other": "green tea"})
            await put(s, items, "beside", {"text": "green tea"}, space="facts2")
            assert await found(s, items, "green tea") == [("both", 0.75), ("tea", 0.707), ("sea", 0.0)]
            assert await found(s, items, "green tea", limit=1, offset=1, unknown="field") == [("tea", 0.707)]
            assert await found(s, items, "green tea", filter={"n": {"$ne": 3}}) == [("tea", 0.707), ("sea", 0.0)]
            unscored = await s.http.post(f"{items}/search", json={"namespace_prefix": ["facts"]})
            assert sorted(item["key"] for item in unscored.json()["items"]) == ["both", "none", "sea", "tea"]
            await put(s, items, "tea", {"text": "coffee"})
            await s.http.request("DELETE", items, json={"namespace": ["facts"], "key": "both"})
            assert await found(s, items, "green tea") == [("tea", 0.0), ("sea", 0.0)]

    play(story())


@FACES
def test_a_put_says_what_of_it_is_embedded(write: Write, serve: Serve, items: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with serve(indexed(write)) as s:
            calls = module_in(tmp_path, "toy.py").CALLS
            calls.clear()
            await put(s, items, "whole", {"b": "red", "a": ["blue", 1]})
            assert calls.pop() == ['{"a": ["blue", 1], "b": "red"}'], "as LangGraph's stores take it"
            await put(s, items, "left out", {"b": "red"}, index=False)
            await put(s, items, "nothing there", {"b": "red"}, index=["gone", "b.c"])
            await put(s, items, "nothing named", {"b": "red"}, index=[])
            assert calls == []
            value = {
                "b": "red",
                "parts": [{"t": "one sea"}, {"t": "red sea"}, {"t": "one sea"}],
                "deep": {"x": {"y": 7}},
            }
            await put(s, items, "paths", value, index=["parts[*].t", "deep.x.y", "{b,gone}"])
            assert calls.pop() == ["one sea", "red sea", "7", "red"]
            assert (await found(s, items, "red sea"))[0] == ("paths", 1.0), "the best of them counts"
            await put(s, items, "as configured", {"t": "x"}, index=True)
            assert calls.pop() == ['{"t": "x"}']
            assert [key for key, _ in await found(s, items, "red", limit=9)].count("left out") == 0

    play(story())


@FACES
def test_too_much_is_the_clients_mistake(write: Write, serve: Serve, items: str) -> None:
    async def story() -> None:
        async with serve(indexed(write)) as s:
            for body, field in (
                ({"value": {"t": "x" * 1_000_001}}, "value"),
                ({"value": {"t": ["x" + str(n) for n in range(257)]}, "index": ["t[*]"]}, "value"),
                ({"value": {"t": "x"}, "index": ["{" + ",".join(["t"] * 65) + "}"]}, "index"),
                ({"value": {"t": "x"}, "index": ["t"] * 65}, "index"),
                ({"value": {"t": "x"}, "index": ["t" * 1001]}, "index"),
                ({"value": {"t": "x"}, "index": "t"}, "index"),
            ):
                refused = await s.http.put(items, json={"namespace": ["facts"], "key": "k", **body})
                assert refused.status_code == 422, body
                assert field in refused.text
            long = await s.http.post(f"{items}/search", json={"query": "x" * 1_000_001})
            assert long.status_code == 422
            assert await found(s, items) == []

    play(story())


@FACES
def test_without_an_index_they_are_refused_by_name(write: Write, serve: Serve, items: str) -> None:
    async def story() -> None:
        async with serve(write({"graphs": {}})) as s:
            refused = [
                (await s.http.post(f"{items}/search", json={"query": "tea"}), "query"),
                (await put(s, items, "k", {}, index=["text"]), "index"),
                (await put(s, items, "k", {}, index=True), "index"),
            ]
            for answer, field in refused:
                assert answer.status_code == 422
                assert f"{field}: there is no index of meanings here: store.index of langgraph.json" in answer.text
            assert (await put(s, items, "k", {}, index=False)).status_code == 204
            assert await found(s, items, "") == [("k", None)], "as LangGraph's stores take it"

    play(story())


FAILING = [
    ("raises", 502, "store.index.embed './toy.py:raises' failed: ConnectionError: the provider is away"),
    ("araises", 502, "store.index.embed './toy.py:araises' failed: ConnectionError"),
    ("exits", 502, "SystemExit: 3"),
    ("short", 502, "gave no vector of 64 finite numbers, as store.index.dims wants it: a vector has 2 numbers, not 64"),
    ("no_numbers", 502, "not finite"),
    ("too_few", 502, "gave 0 vectors for 1 texts"),
]


@pytest.mark.parametrize(("name", "status", "why"), FAILING)
def test_an_embedding_that_fails_is_not_the_clients_mistake(
    write: Write, serve: Serve, name: str, status: int, why: str
) -> None:
    async def story() -> None:
        async with serve(indexed(write, f"./toy.py:{name}")) as s:
            answer = await put(s, DIALECT, "k", {"text": "tea"})
            assert answer.status_code == status
            assert answer.json()["code"] == "embedding_failed"
            assert why in answer.json()["detail"]
            assert await found(s, DIALECT) == [], "the item was not put without its vectors"
            assert (await put(s, DIALECT, "k", {"text": "tea"}, index=False)).status_code == 204
            if name != "too_few":
                searched = await s.http.post(f"{NATIVE}/search", json={"query": "tea"})
                assert (searched.status_code, searched.json()["code"]) == (status, "embedding_failed")

    play(story())


def test_one_that_blocks_holds_up_nothing_else(write: Write, serve: Serve, tmp_path: Path) -> None:
    async def story() -> None:
        async with serve(indexed(write, "./toy.py:hangs")) as s:
            toy = module_in(tmp_path, "toy.py")
            putting = asyncio.create_task(put(s, DIALECT, "k", {"text": "tea"}))
            assert await asyncio.to_thread(toy.BEGUN.acquire, timeout=20)
            assert (await s.http.get("/langgraph/ok")).status_code == 200
            assert await found(s, DIALECT) == []
            assert not putting.done()
            toy.GO.set()
            assert (await putting).status_code == 204
            assert await found(s, DIALECT, "text tea") == [("k", 1.0)]

    play(story())


@pytest.mark.parametrize("name", ["hangs", "ahangs"])
def test_one_that_hangs_is_given_up_and_keeps_its_place_until_it_ends(name: str) -> None:
    import toy_embedding as toy

    toy.GO.clear()

    async def story() -> None:
        embedding = Embedding(EmbeddingIndex(getattr(toy, name), 64, place="the toy"), timeout=0.05, places=1)
        for _ in range(2):
            with pytest.raises(EmbeddingTimeout, match=r"the toy has not given vectors within 0\.05 s"):
                await embedding.meanings(Texts([["tea"]]))
        toy.GO.set()
        for _ in range(200):
            try:
                if name == "hangs":
                    assert len((await embedding.meanings(Texts([["tea"]]))).items[0][0]) == 256
                break
            except EmbeddingTimeout:
                continue
        else:
            pytest.fail("its place is never free again")

    play(story())


@pytest.mark.parametrize("embed", ["embed", "aembed"])
def test_functions_search_by_meaning(write: Write, serve: Serve, tmp_path: Path, embed: str) -> None:
    async def story() -> None:
        async with serve(indexed(write, f"./toy.py:{embed}", ["text"]), str(AGENTS)) as s:
            calls = module_in(tmp_path, "toy.py").CALLS
            thread = await s.thread()
            run = await s.run(agent_id="recalls", thread_id=thread)
            assert (await s.wait(run["run_id"]))["run"]["status"] == "interrupted"
            assert calls == [["green tea"], ["green tea"]]
            run = await s.run(agent_id="recalls", thread_id=thread, command={"resume": True})
            values = (await s.wait(run["run_id"]))["values"]
            assert values["found"] == [["sea", 0.707], ["tea", 0.707]]
            assert values["all"][0][1] is None
            assert calls[2:] == [["green"]], "a recorded put is not embedded again"
            run = await s.run(agent_id="recalls_blocking")
            assert (await s.wait(run["run_id"]))["values"]["found"] == [["tea", 0.707], ["sea", 0.707]]

    play(story())


def test_functions_are_told_that_there_is_no_index(write: Write, serve: Serve) -> None:
    async def story() -> None:
        async with serve(write({"graphs": {}}), f"{AGENTS}:asks_in_vain") as s:
            run = await s.run(agent_id="asks_in_vain")
            assert (await s.wait(run["run_id"]))["values"]["said"] == [
                "Unsupported: query: there is no index of meanings here: store.index of langgraph.json makes one",
                "Unsupported: index: there is no index of meanings here: store.index of langgraph.json makes one",
            ]

    play(story())


def test_the_client_searches_by_meaning(write: Write, serve: Serve, tmp_path: Path) -> None:
    sent = StorePutRequest(namespace=["facts"], key="tea", value={"text": "green tea", "b": "sea"}, index=["b"])
    asked = StoreSearchRequest(namespace_prefix=["facts"], query="sea")

    async def story() -> None:
        async with serve(indexed(write, fields=["text"])) as s:
            assert (await s.http.put(NATIVE, json=sent.to_dict())).status_code == 204
            answer = (await s.http.post(f"{NATIVE}/search", json=asked.to_dict())).json()
            assert SearchItemsResponse.from_dict(answer).items[0].score == pytest.approx(1.0)

    play(story())


def test_an_api_server_on_postgresql_embeds_without_executing_anything(
    write: Write, serve: Serve, postgres: Postgres
) -> None:
    async def story() -> None:
        settings = {"workers": 0, "database": await postgres.emptied(), "default_agent": None}
        async with serve(indexed(write, "./toy.py:aembed", ["text"]), **settings) as s:
            await put(s, DIALECT, "tea", {"text": "green tea"})
            await put(s, NATIVE, "sea", {"text": "sea"})
            for items in (DIALECT, NATIVE):
                assert await found(s, items, "tea", filter={"text": {"$ne": "x"}}) == [("tea", 0.707), ("sea", 0.0)]

    play(story())


def test_rules_say_what_is_searched_and_embedded(guard: Guard, write: Write, tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    manifest = {"store": {"index": {"embed": "./toy.py:embed", "dims": 64, "fields": ["text"]}}}

    async def story() -> None:
        async with guard("own", manifest=manifest) as s:
            for who, key in (("ada", "hers"), ("bob", "his")):
                body = {"namespace": ["facts"], "key": key, "value": {"text": "green tea"}}
                answer = await s.ask(who, "PUT", NATIVE, {**body, "index": ["text"]})
                assert answer.status_code == 204, answer.text
            assert [value["index"] for value in s.values if "index" in value] == [["text"], ["text"]]
            for who, key in (("ada", "hers"), ("bob", "his")):
                answer = await s.post(who, f"{NATIVE}/search", {"namespace_prefix": ["facts"], "query": "tea"})
                assert [item["key"] for item in answer.json()["items"]] == [key]
                assert answer.json()["items"][0]["score"] == pytest.approx(0.707, abs=0.001)
            assert [value["query"] for value in s.values if "query" in value] == ["tea", "tea"]
            calls = module_in(tmp_path, "toy.py").CALLS
            calls.clear()
            stolen = {"namespace": ["facts"], "key": "hers", "value": {"text": "mine now"}}
            assert (await s.ask("bob", "PUT", NATIVE, stolen)).status_code == 403
            assert calls == [], "nothing is embedded for what is not allowed"

    play(story())


BAD = [
    ({"embed": "./toy.py:gone", "dims": 64}, "store.index.embed: .*has no gone"),
    ({"embed": "./gone.py:embed", "dims": 64}, "gone.py does not exist"),
    ({"embed": "gone.module:embed", "dims": 64}, "No module named 'gone'"),
    ({"embed": "./toy.py:NUMBER", "dims": 64}, "is int: neither a function nor an Embeddings object"),
    ({"embed": "./toy.py:embed", "dims": 0}, "dims"),
    ({"embed": "./toy.py:embed", "dims": 16_001}, "dims"),
    ({"embed": "./toy.py:embed"}, "dims"),
    ({"dims": 64}, "embed"),
    ({"embed": "toy", "dims": 64}, "embed"),
    ({"embed": "nobody:text-embedding-9", "dims": 64}, "store.index.embed 'nobody:text-embedding-9': ValueError"),
]


@pytest.mark.parametrize(("index", "said"), BAD)
def test_an_index_that_does_not_fit_stops_the_start(write: Write, index: dict[str, Any], said: str) -> None:
    target = write({"store": {"index": index}}, **{"toy.py": TOY})
    with pytest.raises(InvalidInput, match=said):
        deployment(sources([target], Path.cwd()))


def test_what_is_not_installed_is_told(write: Write, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    provider = indexed(write, "openai:text-embedding-3-small")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "langchain_openai", None)
        with pytest.raises(
            Unsupported, match=r"store\.index\.embed 'openai:text-embedding-3-small': .*langchain-openai"
        ):
            deployment(sources([provider], Path.cwd()))
        without.setitem(sys.modules, "langchain.embeddings", None)
        with pytest.raises(Unsupported, match="pip install langchain langchain-openai"):
            deployment(sources([provider], Path.cwd()))
    own = indexed(write)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "runyard.runtime.langgraph.agent", None)
        with pytest.raises(Unsupported, match=r"asks for store\.index, but .* pip install 'runyard\[langgraph\]'"):
            deployment(sources([own], Path.cwd()))
    monkeypatch.setattr(sqlite_adapter, "CAN_COMPARE_VECTORS", False)

    async def story() -> None:
        with pytest.raises(Unsupported, match=r"takes sqlite-vec, .* pip install 'runyard\[vectors\]'"):
            async with serve(own):
                pass

    play(story())
