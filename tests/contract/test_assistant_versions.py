"""Assistants in every storage adapter: their versions, which of them counts, and what searches find."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from runyard import assistants
from runyard.agents import Agent
from runyard.assistants import Assistant, AssistantFilter, AssistantPatch, VersionFilter
from runyard.errors import Conflict, NotFound
from runyard.storage.contract import Storage

OnStorage = Callable[[Callable[[Storage], Awaitable[None]]], None]


def made(name: str, **more: Any) -> Assistant:
    given: dict[str, Any] = {
        "assistant_id": f"id-{name}", "owner": "", "agent_id": "a", "version": 1, "created_at": 10, "updated_at": 10,
        "name": name, **more,
    }  # fmt: skip
    return Assistant(**given)


def encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)


async def created(storage: Storage, *made: Assistant) -> None:
    for assistant in made:
        await storage.create_assistant(assistant, if_exists="raise")


async def found(storage: Storage, owner: str = "", **query: Any) -> list[str]:
    return [assistant.name for assistant in await storage.search_assistants(owner, AssistantFilter(**query))]


def test_an_assistant_is_kept_as_it_was_made(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        one = made(
            "One", description="first", metadata=b'{"n":1}', config=b'{"tags":["x"]}', context=b'{"m":"\\u0000"}'
        )
        assert await storage.create_assistant(one, if_exists="raise") == one
        assert await storage.assistant("", "id-One") == one
        for owner, id in (("other", "id-One"), ("", "id-Two")):
            with pytest.raises(NotFound) as refused:
                await storage.assistant(owner, id)
            assert refused.value.reason == "assistant_not_found"

    on_storage(case)


def test_an_id_that_is_taken_is_refused_or_given_as_it_is(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await created(storage, made("One"), made("One", owner="other", agent_id="b"))
        with pytest.raises(Conflict) as refused:
            await storage.create_assistant(made("One", agent_id="c"), if_exists="raise")
        assert refused.value.reason == "assistant_exists"
        same = await storage.create_assistant(made("One", agent_id="c"), if_exists="do_nothing")
        assert (same.agent_id, (await storage.assistant("other", "id-One")).agent_id) == ("a", "b")
        assert len(await storage.assistant_versions("", "id-One", VersionFilter())) == 1

    on_storage(case)


def test_a_patch_makes_a_version_of_what_it_names_and_of_what_there_was(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await created(storage, made("One", description="d", metadata=b'{"a":1,"b":1}', config=b'{"tags":[]}'))
        second = await storage.patch_assistant(
            "", "id-One", AssistantPatch(name="Uno", metadata={"b": 2}, context={"model": "x"}), 20
        )
        assert (second.version, second.created_at, second.updated_at, second.name) == (2, 10, 20, "Uno")
        assert (second.description, second.agent_id) == ("d", "a")
        assert msgspec.json.decode(second.metadata) == {"a": 1, "b": 2}
        assert (second.config, second.context) == (b'{"tags":[]}', b'{"model":"x"}')
        assert await storage.assistant("", "id-One") == second
        first = (await storage.assistant_versions("", "id-One", VersionFilter()))[1]
        assert (first.version, first.name, first.context, first.created_at) == (1, "One", b"{}", 10)
        with pytest.raises(NotFound):
            await storage.patch_assistant("other", "id-One", AssistantPatch(name="x"), 30)

    on_storage(case)


def test_any_version_can_count_again_with_all_that_it_had(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await created(storage, made("One", config=b'{"n":1}', context=b'{"c":1}', metadata=b'{"m":1}'))
        patch = AssistantPatch("b", "Two", "d", {"m": 2}, {"n": 2}, {"c": 2})
        await storage.patch_assistant("", "id-One", patch, 20)
        back = await storage.choose_version("", "id-One", 1, 30)
        assert (back.version, back.agent_id, back.name, back.description) == (1, "a", "One", None)
        assert (back.config, back.context, back.metadata) == (b'{"n":1}', b'{"c":1}', b'{"m":1}')
        assert (back.created_at, back.updated_at) == (10, 30)
        # A new version has the next number of all, and is made of the one that counts.
        third = await storage.patch_assistant("", "id-One", AssistantPatch(description="new"), 40)
        assert (third.version, third.agent_id, third.name) == (3, "a", "One")
        for id, code in (("id-One", "assistant_version_not_found"), ("id-None", "assistant_not_found")):
            with pytest.raises(NotFound) as refused:
                await storage.choose_version("", id, 9, 50)
            assert refused.value.reason == code
        assert (await storage.assistant("", "id-One")).version == 3

    on_storage(case)


def test_versions_come_newest_first_by_their_metadata_and_in_pages(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await created(storage, made("One", metadata=b'{"k":"a"}'))
        for n, kind in enumerate("bab", 2):
            await storage.patch_assistant("", "id-One", AssistantPatch(metadata={"k": kind}), 10 * n)

        async def numbers(**query: Any) -> list[int]:
            listed = await storage.assistant_versions("", "id-One", VersionFilter(**query))
            return [version.version for version in listed]

        assert await numbers() == [4, 3, 2, 1]
        assert await numbers(limit=2, offset=1) == [3, 2]
        assert await numbers(metadata={"k": "a"}) == [3, 1]
        assert await storage.assistant_versions("other", "id-One", VersionFilter()) == []

    on_storage(case)


def test_a_default_assistant_has_rows_from_its_first_change_on(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        default = assistants.default_of(Agent("echo", "Echo"), "o", 5)
        id = default.assistant_id
        assert await storage.assistants_among("o", [id, "x"]) == set()
        changed = await storage.patch_assistant("o", id, AssistantPatch(name="Mine"), 20, default=default)
        assert (changed.version, changed.name, changed.created_at) == (2, "Mine", 5)
        again = await storage.patch_assistant("o", id, AssistantPatch(config={"tags": []}), 30, default=default)
        assert (again.version, again.name) == (3, "Mine")
        assert (await storage.choose_version("o", id, 1, 40, default=default)).name == "Echo"
        assert await storage.assistants_among("o", [id, "x"]) == {id}
        assert await storage.assistants_among("other", [id]) == set()
        untouched = assistants.default_of(Agent("b", "B"), "o", 5)
        same = await storage.choose_version("o", untouched.assistant_id, 1, 50, default=untouched)
        assert (same.version, same.name) == (1, "B")
        missing = assistants.default_of(Agent("c", "C"), "o", 5)
        with pytest.raises(NotFound):
            await storage.choose_version("o", missing.assistant_id, 2, 60, default=missing)
        assert await storage.assistants_among("o", [missing.assistant_id]) == set()

    on_storage(case)


def test_searches_ask_for_agent_name_and_metadata(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await created(
            storage,
            made("Straße", created_at=1, metadata=b'{"team":"x","tags":["p","q"]}'),
            made("STRASSE", created_at=2, agent_id="b", metadata=b'{"team":"x"}'),
            made("other", created_at=3),
            made("Straße", created_at=4, owner="o"),
        )
        assert await found(storage) == ["other", "STRASSE", "Straße"]
        assert await found(storage, name="strasse") == ["STRASSE", "Straße"]
        assert await found(storage, name="RASS", agent_id="b") == ["STRASSE"]
        assert await found(storage, metadata={"team": "x"}) == ["STRASSE", "Straße"]
        assert await found(storage, metadata={"tags": ["q"]}) == ["Straße"]
        assert await found(storage, name="%") == []
        assert await found(storage, "o") == ["Straße"]
        for query, count in (({}, 3), ({"name": "straß"}, 2), ({"agent_id": "b", "metadata": {"team": "y"}}, 0)):
            assert await storage.count_assistants("", AssistantFilter(**query, limit=1, offset=1)) == count
        # A search sees the version that counts.
        await storage.patch_assistant("", "id-other", AssistantPatch(name="strasse 3"), 9)
        assert await found(storage, name="STRASSE", limit=2, offset=1) == ["STRASSE", "Straße"]

    on_storage(case)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("by", ["assistant_id", "agent_id", "name", "created_at", "updated_at"])
def test_databases_sort_as_the_domain_does(on_storage: OnStorage, by: Any, descending: bool) -> None:
    async def case(storage: Storage) -> None:
        names = ("b", "B", "a", "é", "z", "𝒜", "Z")
        several = [
            made(
                name, assistant_id=f"id-{number}", agent_id="xyx"[number % 3], created_at=number // 2 + 9,
                updated_at=10 ** (number % 4),
            )
            for number, name in enumerate(names)
        ]  # fmt: skip
        await created(storage, *several)
        query = AssistantFilter(sort_by=by, descending=descending)
        assert await storage.search_assistants("", query) == assistants.ordered(several, query)
        page = msgspec.structs.replace(query, limit=3, offset=2)
        assert await storage.search_assistants("", page) == assistants.ordered(several, query)[2:5]

    on_storage(case)


def test_a_deleted_assistant_is_gone_with_its_versions(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await created(storage, made("One"), made("One", owner="o"))
        await storage.patch_assistant("", "id-One", AssistantPatch(name="x"), 20)
        await storage.delete_assistant("", "id-One")
        with pytest.raises(NotFound):
            await storage.delete_assistant("", "id-One")
        assert await storage.assistant_versions("", "id-One", VersionFilter()) == []
        await created(storage, made("One"))
        assert (await storage.assistant("", "id-One")).version == 1
        assert (await storage.assistant("o", "id-One")).version == 1

    on_storage(case)


def test_an_agent_is_as_old_as_its_first_publication(on_storage: OnStorage) -> None:
    async def case(storage: Storage) -> None:
        await storage.publish_agents([Agent("a", "A")], 5)
        await storage.publish_agents([Agent("a", "A2"), Agent("b", "B")], 9)
        assert await storage.published_at() == {"a": 5, "b": 9}

    on_storage(case)
