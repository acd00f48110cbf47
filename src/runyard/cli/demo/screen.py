"""What the tour looks like: live on a terminal, plain lines in a pipe."""

from __future__ import annotations

import textwrap
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

INDENT = "  "


class Bars(Protocol):
    """Several things that go on at once."""

    def show(self, number: int, done: int) -> None:
        """The n-th has come so far."""
        ...


class Screen:
    """Says what happens. Everything it is given is plain text; rich markup in it means nothing."""

    def __init__(self) -> None:
        # A pipe has no width: a line there is as long as it has to be.
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._live = self._console.is_terminal
        if not self._live:
            self._console = Console(highlight=False, markup=False, emoji=False, width=10_000, no_color=True)

    def title(self, text: str) -> None:
        """The beginning of a scene."""
        self._console.print()
        self._console.print(text, style="bold")

    def say(self, text: str, style: str = "") -> None:
        """One line or more of what happens."""
        if self._live:
            # Wrapped lines keep the indent.
            self._console.print(Padding(Text(text, style), (0, 0, 0, len(INDENT)), expand=False))
        else:
            self._console.print(textwrap.indent(text, INDENT))

    def claim(self, text: str) -> None:
        """Something that was checked and holds."""
        self._console.print(f"{INDENT}✓ {text}", style="green")

    @contextmanager
    def bars(self, labels: Sequence[str], totals: Sequence[int]) -> Generator[Bars]:
        """A bar for each of several things at once; in a pipe, a line when one is done."""
        if not self._live:
            yield _Lines(self, labels, totals)
            return
        columns = (TextColumn(INDENT + "{task.description}"), BarColumn(40), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            tasks = [progress.add_task(label, total=n) for label, n in zip(labels, totals, strict=True)]
            yield _Live(progress, tasks)

    def proven(self, claims: Sequence[tuple[str, str]]) -> None:
        """The table at the end: scene and claim."""
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        table.add_column("scene", no_wrap=True)
        table.add_column("proven")
        before = ""
        for scene, claim in claims:
            table.add_row("" if scene == before else scene, claim)
            before = scene
        self._console.print()
        self._console.print(table)


class _Live:
    def __init__(self, progress: Progress, tasks: Sequence[TaskID]) -> None:
        self._progress = progress
        self._tasks = tasks

    def show(self, number: int, done: int) -> None:
        self._progress.update(self._tasks[number], completed=done)


class _Lines:
    def __init__(self, screen: Screen, labels: Sequence[str], totals: Sequence[int]) -> None:
        self._screen = screen
        self._labels = labels
        self._totals = totals

    def show(self, number: int, done: int) -> None:
        if done == self._totals[number]:
            self._screen.say(f"{self._labels[number]}: done")
