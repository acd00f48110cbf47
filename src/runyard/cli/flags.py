"""The settings as flags, made from the settings themselves: none is missing, none means another thing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from runyard.settings import Resolved, describe, resolve_settings

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SWITCHES = frozenset({"in_process", "insecure", "traces", "webhook_https_only"})


def setting_flags(*names: str) -> Decorator:
    """Give a command `--config` and a flag for each of these settings, or for all where none is named.

    The values arrive as texts under the settings' names (None: not given): the settings judge them.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for row in reversed(describe()):
            if not row.flag.startswith("--") or (names and row.name not in names):
                continue
            meaning = f"{row.meaning.replace('`', '')} [default: {row.default}]"
            if row.name in SWITCHES:
                option = click.option(row.flag, row.name, is_flag=True, default=None, help=meaning)
            else:
                option = click.option(row.flag, row.name, metavar="VALUE", default=None, help=meaning)
            function = option(function)
        return click.option(
            "--config",
            type=click.Path(path_type=Path),
            default=None,
            help="A file of settings, instead of runyard.toml in the working directory.",
        )(function)

    return decorate


def read_settings(flags: dict[str, Any], targets: tuple[str, ...] = ()) -> Resolved:
    """The settings of a command that has setting flags (`config` among them), with their sources.

    Raises InvalidInput that names the setting, its value, what is allowed and where the value came from.
    """
    config: Path | None = flags.get("config")
    return resolve_settings({**flags, "agents": targets}, os.environ, Path.cwd(), config)
