"""Log lines: each sentence stands in one file, and nothing that is logged can look like another record."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runyard.logs import REMEMBERED, REPEATED, JsonFormatter, Repeats, TextFormatter
from runyard.runtime.contract import RunInfo
from runyard.telemetry import LEVELS, Telemetry, run_of_code, say

SOURCE = Path(__file__).parents[2] / "src" / "runyard"
WRITES = {"critical", "debug", "error", "exception", "info", "log", "warn", "warning"}
RUN = RunInfo("r1", "t1", "echo", "", 2, {}, {})
FORGED = "2026-01-01 00:00:00,000 ERROR runyard: all keys have been revoked"


@contextmanager
def lines(formatter: logging.Formatter) -> Iterator[io.StringIO]:
    """What the logger `runyard` and those below it write, in this form."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    log = logging.getLogger("runyard")
    level, log.level = log.level, logging.DEBUG
    log.addHandler(handler)
    try:
        yield stream
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def trees() -> dict[str, ast.Module]:
    return {str(path.relative_to(SOURCE)): ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}


def test_no_file_but_one_writes_a_log_sentence() -> None:
    writers: set[str] = set()
    for name, tree in trees().items():
        for node in ast.walk(tree):
            imported = isinstance(node, ast.ImportFrom) and node.module == "logging"
            gets = isinstance(node, ast.Attribute) and node.attr in ("getLogger", "LoggerAdapter")
            writes = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in WRITES
            if imported or gets or (writes and "log" in ast.unparse(node.func.value).lower()):
                writers.add(name)
    # `logs.py` gets loggers to set them up, and writes nothing.
    assert writers == {"telemetry.py", "logs.py"}
    assert not re.search(rf"\.({'|'.join(WRITES)})\(", (SOURCE / "logs.py").read_text())


def test_every_event_that_is_told_has_a_level_and_every_sentence_is_told_once() -> None:
    told: list[str] = []
    for tree in trees().values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = ast.unparse(node.func)
            if name == "say" or re.search(r"(telemetry\.|self\._)tell$|self\._insist$", name):
                told += [arg.value for arg in ast.walk(node.args[0]) if isinstance(arg, ast.Constant)]
    assert set(told) - set(LEVELS) == set()
    assert {event for event in set(LEVELS) - set(told) if not event.startswith("webhook")} == set()


def test_a_line_of_text_tells_the_event_and_its_fields() -> None:
    with lines(TextFormatter()) as written:
        say("lease lost", run_id="r1", attempt=2, why="it is another's", nothing=None)
    assert written.getvalue().endswith(
        'WARNING runyard: lease lost run_id=r1 attempt=2 why="it is another\'s" nothing=None\n'
    )


def test_a_line_of_json_tells_the_same_as_an_object() -> None:
    with lines(JsonFormatter()) as written:
        say("lease lost", run_id="r1", attempt=2, odd="\ud800")
    line = json.loads(written.getvalue())
    assert (line["level"], line["logger"], line["event"]) == ("warning", "runyard", "lease lost")
    assert line["fields"] == {"run_id": "r1", "attempt": 2, "odd": "\ud800"}


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"])
def test_text_of_a_client_cannot_forge_a_line(end: str) -> None:
    with lines(TextFormatter()) as written:
        say("claim failed", why=f"oops{end}{FORGED}")
        logging.getLogger("runyard.other").warning("oops%s%s", end, FORGED)
        say("agent failed", error=ValueError(f"oops{end}{FORGED}"), run_id=f"r{end}{FORGED}")
    text = written.getvalue()
    records = [line for line in text.splitlines() if not line.startswith("  | ")]
    assert len(records) == 3
    assert not any(line.startswith(FORGED) for line in text.splitlines())
    with lines(JsonFormatter()) as written:
        say("agent failed", error=ValueError(f"oops{end}{FORGED}"), run_id=f"r{end}{FORGED}")
    assert len(written.getvalue().splitlines()) == 1


def test_a_value_cannot_look_like_another_field() -> None:
    with lines(TextFormatter()) as written:
        say("claim failed", why="x run_id=r9")
        say("claim failed", why='x" run_id=r9')
    assert re.findall(r" run_id=", re.sub(r'"(\\.|[^"\\])*"', "", written.getvalue())) == []


def test_escape_sequences_do_not_reach_a_terminal() -> None:
    with lines(TextFormatter()) as written:
        logging.getLogger("runyard.other").warning("\x1b[2Jwiped \x07")
    assert "\x1b" not in written.getvalue()
    assert "\\x1b[2Jwiped \\x07" in written.getvalue()


def test_what_users_code_logs_tells_its_run() -> None:
    def code() -> None:
        run_of_code.set(RUN)
        logging.getLogger("runyard.users").warning("half done")

    for formatter in (TextFormatter(), JsonFormatter()):
        with lines(formatter) as written:
            thread = threading.Thread(target=code)
            thread.start()
            thread.join()
            logging.getLogger("runyard.users").warning("outside")
        inside, outside = written.getvalue().splitlines()
        assert "r1" in inside
        assert "t1" in inside
        assert "r1" not in outside


def test_a_subscriber_that_raises_harms_nobody_but_itself() -> None:
    telemetry, heard = Telemetry(), []

    def breaks(event: str, fields: object) -> None:
        raise RuntimeError("cannot bear it")

    telemetry.subscribe(breaks)
    telemetry.subscribe(lambda event, fields: heard.append((event, fields)))
    with lines(TextFormatter()) as written:
        telemetry.tell("drained", executing=0)
    assert heard == [("drained", {"executing": 0})]
    assert "telemetry subscriber failed told=drained" in written.getvalue()
    assert "cannot bear it" in written.getvalue()


# what is told again and again


class Now:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@contextmanager
def seldom(formatter: logging.Formatter, now: Now) -> Iterator[io.StringIO]:
    """As `lines`, without what is repeated."""
    with lines(formatter) as stream:
        logging.getLogger("runyard").handlers[-1].addFilter(Repeats(now))
        yield stream


def test_a_warning_is_told_once_in_a_while_and_then_how_often_it_was_not() -> None:
    now = Now()
    with seldom(TextFormatter(), now) as written:
        for _ in range(20):
            say("lease not renewed", why="the database is away")
            say("hints do not come", why="the database is away")
        now.time += REPEATED
        say("lease not renewed", why="the database is away")
        say("lease not renewed", why="something else")
        now.time += REPEATED
        say("lease not renewed", why="the database is away")
    told = [line.partition(": ")[2] for line in written.getvalue().splitlines()]
    assert told == [
        'lease not renewed why="the database is away"',
        'hints do not come why="the database is away"',
        'lease not renewed why="the database is away" repeated=19',
        'lease not renewed why="something else"',
        'lease not renewed why="the database is away"',
    ]


def test_programs_are_told_how_often_too() -> None:
    now = Now()
    with seldom(JsonFormatter(), now) as written:
        for _ in range(3):
            say("claim failed", why="away")
        now.time += REPEATED
        say("claim failed", why="away")
    first, second = map(json.loads, written.getvalue().splitlines())
    assert "repeated" not in first
    assert (second["repeated"], second["fields"]) == (2, {"why": "away"})


def test_errors_and_what_agents_log_are_always_told() -> None:
    with seldom(TextFormatter(), Now()) as written:
        for _ in range(3):
            say("claim loop died")
            logging.getLogger("runyard.agent").warning("the oven is hot")
    assert len(written.getvalue().splitlines()) == 6


def test_no_more_than_so_many_warnings_are_remembered() -> None:
    repeats = Repeats(Now())
    with lines(TextFormatter()):
        logging.getLogger("runyard").handlers[-1].addFilter(repeats)
        for number in range(REMEMBERED + 50):
            say("lease not renewed", why=str(number))
    assert len(repeats._told) == REMEMBERED
