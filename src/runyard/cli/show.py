"""What people and programs see: tables, facts and times for the former, JSON for the latter."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import click

STATUS_STYLES = {
    "success": "green",
    "pending": "cyan",
    "running": "cyan",
    "busy": "cyan",
    "interrupted": "yellow",
    "error": "red",
    "timeout": "red",
    "failed": "red",
    "delivered": "green",
    "parked": "red",
}


def plain(answer: Any) -> Any:
    """What the client answered, a model or a list of models, as plain JSON values."""
    if isinstance(answer, list):
        return [plain(each) for each in cast("list[Any]", answer)]
    return json.loads(answer.to_json())


def print_json(value: object) -> None:
    """One JSON document on standard output, indented where a person may look at it."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def print_json_line(value: object) -> None:
    """One line of JSON, at once: a program reads it while more is to come."""
    click.echo(json.dumps(value, ensure_ascii=False))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """A table, or the sentence `empty` where there are no rows."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for number, column in enumerate(columns):
        # The first is an id, there to be copied: it is never cut or wrapped. The others give way.
        table.add_column(column, no_wrap=True, overflow="ignore" if number == 0 else "ellipsis")
    for row in rows:
        table.add_row(*(Text(cell, STATUS_STYLES.get(cell, "")) for cell in row))
    if not table.row_count:
        click.echo(empty, err=True)
        return
    console = Console()
    if not console.is_terminal:
        # In a pipe there is no width to fit into.
        console = Console(width=10_000, no_color=True)
    console.print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Names and values below each other; structured values as indented JSON; absent ones left out."""
    shown = {name: value for name, value in facts.items() if value is not None and value != {}}
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        lines = text.splitlines() or [""]
        click.echo(click.style(name.ljust(width), bold=True) + "  " + status(lines[0]))
        for line in lines[1:]:
            click.echo(" " * (width + 2) + line)


def status(text: str) -> str:
    """A status in its colour; any other text as it is."""
    return click.style(text, fg=STATUS_STYLES[text]) if text in STATUS_STYLES else text


def ago(when: object) -> str:
    """How long ago a time (RFC 3339, or a datetime) was, in the largest unit that fits."""
    if when is None:
        return ""
    moment = when if isinstance(when, datetime) else datetime.fromisoformat(str(when))
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def visible(text: str) -> str:
    """A text from elsewhere without what would steer the terminal."""
    return "".join(
        letter if letter >= " " or letter in "\n\t" else "\ufffd" for letter in text.replace("\x7f", "\ufffd")
    )


def brief(value: Any, width: int = 60) -> str:
    """A value as JSON on one line, cut where it is longer than `width`."""
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= width else text[: width - 1] + "…"
