"""Where a run's progress is shown: a terminal, a notebook, or nowhere."""

import html
import sys
import time
from typing import Any, TextIO

from ap_client.progress import Screen

REDRAW_SECONDS = 0.1
"""How often a notebook's output is drawn anew at most."""


class Terminal:
    """Writes pieces as they come; in colour."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str, style: str = "") -> None:
        self._file.write(f"\x1b[{style}m{text}\x1b[0m" if style else text)
        self._file.flush()

    def finish(self) -> None:
        self._file.flush()


class Notebook:
    """One output of a cell, drawn anew as text comes. `display` is IPython's."""

    def __init__(self, display: Any) -> None:
        self._text = ""
        self._drawn = time.monotonic()
        self._handle = display(self._bundle(), raw=True, display_id=True)

    def write(self, text: str, style: str = "") -> None:
        self._text += text
        if time.monotonic() - self._drawn >= REDRAW_SECONDS:
            self._draw()

    def finish(self) -> None:
        self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        return {"text/plain": self._text, "text/html": f"<pre>{html.escape(self._text)}</pre>"}


class Nowhere:
    """Shows nothing."""

    def write(self, text: str, style: str = "") -> None:
        pass

    def finish(self) -> None:
        pass


def screen_for(file: TextIO | None = None) -> Screen:
    """A screen: the file where one is given; else a notebook's output, or standard output if it is a terminal.

    In a pipe or a log nothing is shown. IPython is asked only where the program has imported it itself.
    """
    if file is not None:
        return Terminal(file) if file.isatty() else _Plain(file)
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None and getattr(shell, "kernel", None) is not None:
        return Notebook(_display_of_ipython())
    return Terminal(sys.stdout) if sys.stdout.isatty() else Nowhere()


def _display_of_ipython() -> Any:
    import importlib

    return importlib.import_module("IPython.display").display


class _Plain(Terminal):
    """A file that was asked for by name, and is no terminal: the same without colours."""

    def write(self, text: str, style: str = "") -> None:
        super().write(text)
