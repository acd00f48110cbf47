"""For all rooms: the database that tests are given, the PostgreSQL that they share, and the time budget of the suite.

`--storage postgres` (or RUNYARD_TEST_STORAGE) gives PostgreSQL to every test that does not name its database. A test
that is about a file says so, and why: `@pytest.mark.sqlite("its WAL is looked at")`.

What each room of tests took, and which tests took it, is printed when the whole suite ran (no path was named), so that
a slow test is seen on the day it is written.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from pathlib import Path

import postgres_server
import pytest
from postgres_server import Postgres

# What a person waits for, on two cores.
BUDGET_S = 360.0
# Seconds that a group of folders under tests/ may take of them.
GROUPS_S = {
    ("domain", "contract"): 60.0,
    ("api", "fuzz"): 60.0,
    ("stories",): 90.0,
    ("langgraph", "dialect", "deployment"): 45.0,
    ("postgres",): 75.0,
    ("chaos", "cli", "client", "docs", "engine", "outbound"): 60.0,
}
SLOWEST = 15
STORAGES = ("sqlite", "postgres")


def pytest_addoption(parser: pytest.Parser) -> None:
    chosen = os.environ.get("RUNYARD_TEST_STORAGE", STORAGES[0])
    parser.addoption("--storage", choices=STORAGES, default=chosen, help="where tests keep what they do not name")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("storage") == "postgres"
    for item in items:
        if chosen or item.path.parent.name == "postgres":
            for mark in item.iter_markers("sqlite"):
                item.add_marker(pytest.mark.skip(reason=mark.args[0]))


@pytest.fixture
def shared(request: pytest.FixtureRequest) -> Postgres | None:
    """The PostgreSQL, where it was chosen."""
    return request.getfixturevalue("postgres") if request.config.getoption("storage") == "postgres" else None


@pytest.fixture
def database(shared: Postgres | None, tmp_path: Path) -> str:
    """The URL of the test's database, which holds nothing."""
    return f"sqlite:///{tmp_path}/runyard.db" if shared is None else asyncio.run(shared.emptied())


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests that need one."""
    with postgres_server.server() as url:
        found = Postgres(url)
        yield found
        asyncio.run(found.drop_all())


class Durations:
    """Adds up what each test took: set-up, call and clean-up together."""

    def __init__(self, at_a_time: int) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._at_a_time = at_a_time
        self._began = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or not self.seconds:
            return
        terminalreporter.section("time")
        slowest = sorted(self.seconds.items(), key=lambda pair: pair[1], reverse=True)[:SLOWEST]
        for nodeid, seconds in slowest:
            terminalreporter.write_line(f"{seconds:7.2f} s  {nodeid}")
        terminalreporter.write_line("")
        for name, seconds, budget in self.by_group():
            over = "  OVER BUDGET" if seconds > budget else ""
            terminalreporter.write_line(f"{seconds:7.1f} s of {budget:3.0f}  {name}{over}")

    def by_group(self) -> Iterator[tuple[str, float, float]]:
        """Name, seconds taken and seconds allowed: each group, then the whole as a person waits for it."""
        by_folder: defaultdict[str, float] = defaultdict(float)
        for nodeid, seconds in self.seconds.items():
            by_folder[nodeid.partition("/")[2].partition("/")[0]] += seconds / self._at_a_time
        for folders, budget in GROUPS_S.items():
            yield " + ".join(folders), sum(by_folder.pop(folder, 0.0) for folder in folders), budget
        if by_folder:
            yield " + ".join(sorted(by_folder)) + ", which no group names", sum(by_folder.values()), 0.0
        yield "from begin to end", time.monotonic() - self._began, BUDGET_S


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What tests print with lone surrogates in it, as tests of bad input do, could not be told to the process that
    reports."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Durations(config.getoption("numprocesses", None) or 1), "durations")
