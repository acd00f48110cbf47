"""Schema migrations: numbered SQL files, applied forward, each once."""

from __future__ import annotations

import re
from importlib import resources

import msgspec

_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


class Migration(msgspec.Struct, frozen=True):
    """One numbered step of a schema."""

    number: int
    name: str
    sql: str


def migrations(package: str) -> list[Migration]:
    """The migrations in a package's `migrations` folder, in order; numbers run from 1 without a gap."""
    found = [
        Migration(int(match[1]), file.name, file.read_text("utf-8"))
        for file in resources.files(package).joinpath("migrations").iterdir()
        if (match := _NAME.match(file.name))
    ]
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migrations of {package} are numbered {numbers}; expected 1..{len(found)}")
    return found


def named_queries(package: str) -> dict[str, str]:
    """The statements of a package's `queries.sql`: `-- name: word`, a sentence on what it is for, the statement."""
    text = resources.files(package).joinpath("queries.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return {
        name: "\n".join(line for line in body.splitlines() if not line.startswith("--")).strip()
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
