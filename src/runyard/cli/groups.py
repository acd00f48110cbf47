"""Groups of commands: one that imports a command when it is called, one with a default command."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """Commands by name and sentence; each is the object `command` of the module of that name in `package`."""

    def __init__(self, *args: Any, lazy: Mapping[str, str], package: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lazy = lazy
        self._package = package

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy:
            return None
        module = importlib.import_module(f"{self._package}.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # click would import every command for its sentence.
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._lazy.items()))


class ListingGroup(click.Group):
    """A group whose command `list` is meant where none is named: `runyard runs --json`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names_option = bool(args) and args[0].startswith("-") and args[0] not in ctx.help_option_names
        if not args or names_option:
            args = ["list", *args]
        return super().parse_args(ctx, args)
