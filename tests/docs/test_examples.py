"""The examples do what they say: their algorithms here, each whole agent through a real server below."""

import asyncio
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TEXTS = EXAMPLES / "texts"
GRAPHS = EXAMPLES / "graphs"


def load(name: str) -> ModuleType:
    """An example as a module, without a place in `sys.modules` that another test could see."""
    spec = importlib.util.spec_from_file_location(f"examples_{Path(name).name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestSummarize:
    @pytest.fixture
    def example(self) -> ModuleType:
        return load("summarize_folder")

    def sentences(self, example: ModuleType) -> list[dict[str, Any]]:
        files = example.list_files(str(TEXTS), "*.txt")
        return [s for file in files for s in example.read_sentences(str(TEXTS), file)]

    def test_a_citation_names_the_line_where_the_sentence_begins(self, example: ModuleType) -> None:
        for sentence in self.sentences(example):
            line = (TEXTS / sentence["file"]).read_text().splitlines()[sentence["line"] - 1]
            assert sentence["text"].split()[0] in line

    def test_sentences_are_split_at_their_ends_and_nowhere_else(self, example: ModuleType) -> None:
        text = 'A heading\n\nIt cost her 3.50 euros then. "Is it\nreally worth it?" He had his old doubts!\nNo.\n'
        found = [(s["text"], s["line"]) for s in example.split_sentences(text, "a.txt")]
        assert found == [
            ("It cost her 3.50 euros then.", 3),
            ('"Is it really worth it?"', 3),
            ("He had his old doubts!", 4),
        ]

    def test_every_file_is_quoted_once_before_any_is_quoted_twice(self, example: ModuleType) -> None:
        sentences = self.sentences(example)
        files = {sentence["file"] for sentence in sentences}
        assert {s["file"] for s in example.choose(sentences, len(files))} == files
        twice = Counter(s["file"] for s in example.choose(sentences, 2 * len(files)))
        assert set(twice.values()) == {2}

    def test_the_summary_has_the_size_that_was_asked_for_or_all_there_is(self, example: ModuleType) -> None:
        sentences = self.sentences(example)
        assert len(example.choose(sentences, 7)) == 7
        assert example.choose(sentences[:3], 7) == sentences[:3]
        assert example.choose([], 7) == []

    def test_a_sentence_is_not_quoted_again_in_other_words(self, example: ModuleType) -> None:
        texts = [
            "The moon pulls the ocean and the tide rises.",
            "The tide rises since the moon pulls the ocean.",
            "A gauge in the harbour records the tide.",
        ]
        sentences = [{"text": text, "file": "a.txt", "line": n} for n, text in enumerate(texts, start=1)]
        assert {s["line"] for s in example.choose(sentences, 2)} in ({1, 3}, {2, 3})

    def test_a_folder_without_texts_is_refused_by_name(self, example: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"holds no file that matches '\*\.txt'"):
            example.list_files(str(tmp_path), "*.txt")

    def test_no_sentence_at_all_is_refused_naming_the_field(self, example: ModuleType) -> None:
        with pytest.raises(ValueError, match="sentences is 0"):
            example.Folder(folder="texts", sentences=0)


class TestResearchTeam:
    @pytest.fixture
    def example(self) -> ModuleType:
        return load("research_team")

    def test_sentences_that_share_words_with_the_question_are_found_and_scored(self, example: ModuleType) -> None:
        found = example.search(str(TEXTS), "bees.txt", "How do scouts find a quorum?")
        assert {"scout", "quorum"} <= example.words(max(found, key=lambda passage: passage["score"])["text"])
        assert all(passage["score"] and "\n" not in passage["text"] for passage in found)
        assert example.search(str(TEXTS), "bees.txt", "Is it so?") == []

    def test_figures_are_digits_or_words_with_what_they_count(self, example: ModuleType, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("The bridge has 1,200 bolts and Two towers. Twelve apples are here.")
        assert "".join(example.figures(str(tmp_path), "bridge")) == "1,200 bolts\ntwo towers\n"

    def test_a_folder_without_texts_is_refused_by_name(self, example: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no text"):
            example.list_files(str(tmp_path))


class TestSearchOn:
    @pytest.fixture
    def example(self) -> ModuleType:
        return load("search_on")

    def test_words_are_counted_whatever_their_case(self, example: ModuleType, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("Salt of the sea; no salt, no sea-salt.")
        found = asyncio.run(example.count(str(tmp_path), "a.txt", ["salt", "sea", "bees"], 0.0))
        assert found == {"salt": 3, "sea": 2, "bees": 0}

    def test_a_folder_without_texts_is_refused_by_name(self, example: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="holds no text"):
            example.list_files(str(tmp_path))


SOURCE = '''"""A small bank."""

LIMIT = 10


class Account:
    """What one customer owns."""

    def withdraw(self, amount: int) -> int:
        """Take money out.

        Never more than there is.
        """
        return check_limit(amount)


def check_limit(amount: int) -> int:
    """Refuse an amount above the limit."""
    return amount


async def close(account: Account) -> None:
    account.withdraw(LIMIT)
'''


class TestAskCode:
    @pytest.fixture
    def example(self) -> ModuleType:
        return load("ask_codebase")

    def names(self, example: ModuleType, question: str, subject: str | None = None) -> list[str]:
        passages = list(example.split_code(SOURCE, "bank.py"))
        return [hit["name"] for hit in example.answer(passages, question, subject, 5)]

    def test_a_file_is_split_into_its_module_classes_methods_and_functions(self, example: ModuleType) -> None:
        hits = [passage.hit for passage in example.split_code(SOURCE, "bank.py")]
        assert [(hit["name"], hit["line"], hit["signature"]) for hit in hits] == [
            ("bank", 1, "module bank"),
            ("Account", 6, "class Account"),
            ("Account.withdraw", 9, "def withdraw(self, amount: int) -> int"),
            ("check_limit", 17, "def check_limit(amount: int) -> int"),
            ("close", 22, "async def close(account: Account) -> None"),
        ]
        assert [hit["doc"] for hit in hits][2] == "Take money out."

    def test_the_best_passage_comes_first(self, example: ModuleType) -> None:
        assert self.names(example, "where is an amount above the limit refused?")[0] == "check_limit"
        assert self.names(example, "how do I take money out")[0] == "Account.withdraw"

    def test_who_calls_finds_callers_and_not_lookalikes(self, example: ModuleType) -> None:
        assert self.names(example, "who calls check_limit?") == ["Account.withdraw"]
        assert self.names(example, "what uses the Account.withdraw") == ["close"]
        assert self.names(example, "who calls close?") == []

    def test_it_means_what_the_last_answer_was_about(self, example: ModuleType) -> None:
        assert self.names(example, "and who calls it?", subject="Account.withdraw") == ["close"]
        assert self.names(example, "what does it do?", subject="check_limit")[0] == "check_limit"

    def test_a_question_without_a_word_in_common_finds_nothing(self, example: ModuleType) -> None:
        assert self.names(example, "zebra crossing") == []

    def test_identifiers_are_split_into_words(self, example: ModuleType) -> None:
        assert example.words("HTTPServer.list_runs2") == ["http", "server", "list", "run", "2"]

    def test_the_last_message_is_read_in_both_of_its_forms(self, example: ModuleType) -> None:
        parts = [{"type": "text", "text": "who"}, {"type": "image"}, {"type": "text", "text": "calls it?"}]
        assert example.last_text([{"content": "old"}, {"content": parts}]) == "who calls it?"
        assert example.last_text([{"content": "who?"}]) == "who?"
        assert example.last_text([]) == ""

    def test_files_that_are_hidden_or_no_python_are_passed_over(self, example: ModuleType, tmp_path: Path) -> None:
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / "hidden.py").write_text("def hidden(): ...\n")
        (tmp_path / "broken.py").write_text("def broken(:\n")
        (tmp_path / "fine.py").write_text("def fine(): ...\n")
        assert [p.hit["name"] for p in example.read_folder(str(tmp_path))] == ["fine", "fine"]
        with pytest.raises(ValueError, match="holds no Python file"):
            list(example.read_folder(str(tmp_path / "empty")))


class TestLongJob:
    @pytest.fixture
    def example(self) -> ModuleType:
        return load("long_job")

    @pytest.mark.parametrize(
        ("start", "stop", "primes"),
        [
            (0, 0, 0),
            (0, 1, 0),
            (0, 2, 0),
            (0, 3, 1),
            (0, 100, 25),
            (100, 200, 21),
            (0, 20_000, 2262),
            (4, 5, 0),
        ],
    )
    def test_primes_are_counted_from_start_up_to_but_not_with_stop(
        self, example: ModuleType, start: int, stop: int, primes: int
    ) -> None:
        assert example.count_primes(start, stop) == primes

    def test_ranges_add_up_to_the_whole(self, example: ModuleType) -> None:
        ranges = [example.count_primes(n, n + 100) for n in range(0, 5000, 100)]
        assert sum(ranges) == example.count_primes(0, 5000) == 669

    def test_the_journal_gets_a_line_for_each_entry(self, example: ModuleType, tmp_path: Path) -> None:
        journal = tmp_path / "journal"
        for item in range(3):
            example.append_line(str(journal), {"item": item})
        assert [json.loads(line)["item"] for line in journal.read_text().splitlines()] == [0, 1, 2]

    @pytest.mark.parametrize(
        ("field", "value"), [("items", 0), ("seconds_per_item", -0.1), ("seconds_per_item", 4000.0)]
    )
    def test_a_job_that_makes_no_sense_is_refused_naming_the_field(
        self, example: ModuleType, field: str, value: float
    ) -> None:
        with pytest.raises(ValueError, match=f"{field} is {value}"):
            example.Job(**{field: value})


class TestRefund:
    @pytest.fixture
    def example(self) -> ModuleType:
        return load("approve_refund")

    @pytest.mark.parametrize(
        ("reason", "returned", "amount"),
        [
            ("unwanted", date(2025, 3, 10), 38_900),
            ("unwanted", date(2025, 4, 9), 38_900),
            ("unwanted", date(2025, 4, 10), 19_450),
            ("unwanted", date(2025, 6, 8), 19_450),
            ("unwanted", date(2025, 6, 9), 0),
            ("damaged", date(2025, 6, 9), 38_900),
            ("damaged", date(2026, 3, 10), 38_900),
            ("damaged", date(2026, 3, 11), 0),
        ],
    )
    def test_the_rules_hold_to_the_day(self, example: ModuleType, reason: str, returned: date, amount: int) -> None:
        assert example.refund_due(example.find_order("A-1002"), reason, returned) == amount

    def test_a_return_before_delivery_is_refused(self, example: ModuleType) -> None:
        with pytest.raises(ValueError, match="delivered later"):
            example.refund_due(example.find_order("A-1002"), "unwanted", date(2025, 3, 9))

    @pytest.mark.parametrize(
        ("answer", "amount"),
        [("approve", 500), ("deny", 0), ({"amount": 0}, 0), ({"amount": 250}, 250), ({"amount": 900}, 900)],
    )
    def test_a_person_approves_denies_or_names_an_amount(self, example: ModuleType, answer: Any, amount: int) -> None:
        assert example.approved_amount(answer, 500, 900) == amount

    @pytest.mark.parametrize(
        "answer",
        ["maybe", "", None, True, 5, {"amount": -1}, {"amount": 901}, {"amount": True}, {"amount": "9"}],
    )
    def test_any_other_answer_is_refused_with_what_is_allowed(self, example: ModuleType, answer: Any) -> None:
        with pytest.raises(ValueError, match='say "approve", "deny" or'):
            example.approved_amount(answer, 500, 900)

    def test_an_unknown_order_is_refused_naming_the_known_ones(self, example: ModuleType) -> None:
        with pytest.raises(ValueError, match=r"no order 'B-1'.*A-1001"):
            example.find_order("B-1")


class TestGraphs:
    @pytest.fixture
    def load_graph(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
        monkeypatch.syspath_prepend(GRAPHS)
        # Imported by the examples under this name: gone again after the test.
        monkeypatch.setitem(sys.modules, "_scripted_model", load("graphs/_scripted_model"))
        return lambda name: load(f"graphs/{name}")

    @pytest.mark.parametrize("streamed", [False, True])
    def test_the_script_goes_by_the_conversation(self, streamed: bool) -> None:
        from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage

        scripted = load("graphs/_scripted_model")
        called = scripted.calls(("find", {"a": "x, y", "b": [1, 2]}), ("find", {}), text=" Let  me\nlook.")
        model = scripted.ScriptedModel(script=[called, lambda messages: AIMessage(f"heard {len(messages)}")])

        def play(*messages: Any) -> Any:
            if not streamed:
                return model.invoke([*messages])
            first, *rest = model.stream([*messages])
            assert all(isinstance(chunk, AIMessageChunk) and len(chunk.text.split()) < 2 for chunk in [first, *rest])
            return sum(rest, first)

        hello = HumanMessage("one two")
        first = play(hello)
        assert first.text == " Let  me\nlook."
        assert [(call["name"], call["args"]) for call in first.tool_calls] == [
            ("find", {"a": "x, y", "b": [1, 2]}),
            ("find", {}),
        ]
        assert first.usage_metadata == {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5}
        assert play(hello, first).text == "heard 2"
        assert play(hello, first, first, first).text == "heard 4"
        again = play(hello, first, HumanMessage("three"))
        assert again.text == first.text
        assert {call["id"] for call in again.tool_calls}.isdisjoint(call["id"] for call in first.tool_calls)

    @pytest.mark.parametrize(
        ("said", "item"), [("How many lamps are there?", "lamp"), ("how many chair", "chair"), ("Good morning", None)]
    )
    def test_a_question_about_an_item_is_looked_up(self, load_graph: Any, said: str, item: str | None) -> None:
        from langchain_core.messages import HumanMessage

        line = load_graph("chat_with_tools").look_up([HumanMessage(said)])
        assert [call["args"] for call in line.tool_calls] == ([] if item is None else [{"item": item}])

    @pytest.mark.parametrize(
        ("answers", "decision"),
        [
            ({}, "approved"),
            ({"manager": "approve", "finance": "approve"}, "approved"),
            ({"manager": "reject", "finance": "approve"}, "rejected by manager"),
            ({"manager": "reject", "finance": "reject"}, "rejected by finance and manager"),
        ],
    )
    def test_one_rejection_is_enough(self, load_graph: Any, answers: dict[str, str], decision: str) -> None:
        assert load_graph("human_approval").decide({"answers": answers}) == {"decision": decision}

    @pytest.mark.parametrize(("cents", "asked"), [(10_000, ["decide"]), (10_001, ["ask_manager", "ask_finance"])])
    def test_people_are_asked_above_the_limit(self, load_graph: Any, cents: int, asked: list[str]) -> None:
        assert load_graph("human_approval").who_is_asked({"item": "a pen", "cents": cents}) == asked

    def test_counts_add_up_and_the_most_frequent_come_first(self, load_graph: Any) -> None:
        example = load_graph("map_reduce")
        counts = example.added(example.count_words({"text": "b a. B!"})["counts"], {"c": 2, "a": 1})
        assert counts == {"b": 2, "a": 2, "c": 2}
        state = {"texts": [], "counts": {**counts, "d": 9, "e": 1}}
        assert example.choose(state) == {"frequent": ["d", "a", "b"]}
        assert example.choose({**state, "most": 1}) == {"frequent": ["d"]}
