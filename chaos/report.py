"""What every part of the chaos has in common: how a broken promise is told, and what is printed."""

from __future__ import annotations

import sys
from collections.abc import Callable

Progress = Callable[[str], None]
Rows = list[tuple[str, str]]
"""What a part found out: what it is, and its figure."""


class Broken(Exception):
    """A promise that did not hold. The text says which, and how to see it again."""


def silent(text: str) -> None:
    """No progress is shown."""


def on_terminal(text: str) -> None:
    """One line that is written over by the next."""
    print(f"\r{text:<100.100}", end="", file=sys.stderr, flush=True)


def table(part: str, rows: Rows) -> str:
    """The rows of one part as a table of Markdown."""
    width = max(len(what) for what, _ in rows)
    return "\n".join([f"## {part}", "", f"| {'what':<{width}} | figure |", f"|{'-' * (width + 2)}|--:|"]
                     + [f"| {what:<{width}} | {figure} |" for what, figure in rows])  # fmt: skip
