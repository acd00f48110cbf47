"""What a person sees of a run: lines, and texts as they are written. No input and output in here."""

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

from ap_client.models.run_wait_response import RunWaitResponse
from ap_client.sse import ServerEvent

WIDTH = 100
DIM, RED, GREEN, YELLOW = "2", "31", "32", "33"


class Screen(Protocol):
    """Something that shows text as it comes."""

    def write(self, text: str, style: str = "") -> None:
        """Show a piece of text, in an ANSI style such as `31`; a newline ends a line."""
        ...

    def finish(self) -> None:
        """Nothing more comes: what was held back is shown now."""
        ...


class Progress:
    """Writes a run's events onto a screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._message: str | None = None

    def show(self, event: ServerEvent) -> None:
        """What this event adds: tokens as they come, a line for anything else."""
        data: Any = event.data
        if event.event == "messages" and isinstance(data, list):
            for message in cast("list[Any]", data):
                if isinstance(message, Mapping):
                    self._say(cast("Mapping[str, Any]", message))
            return
        fields = _fields(data)
        match event.event:
            case "metadata":
                attempt = fields.get("attempt") or 1
                more = f", attempt {attempt}" if isinstance(attempt, int) and attempt > 1 else ""
                self._line(f"run {fields.get('run_id')}{more}", DIM)
            case "custom":
                self._line(f"{fields.get('name') or 'custom'}: {_brief(fields.get('payload', data))}")
            case "updates":
                for name, changes in fields.items():
                    # Messages have been written already, as they came.
                    kept = {key: value for key, value in _fields(changes).items() if key != "messages"}
                    if kept:
                        self._line(f"{name}: {_brief(kept)}", DIM)
            case "end" | "error":
                # `end` of this class tells it, with what the run asks.
                pass
            case name:
                self._line(f"{name}: {_brief(event.data)}", DIM)

    def end(self, waited: RunWaitResponse) -> None:
        """How it ended: its status, its error, its questions."""
        status = str(waited.status or (waited.run.status if waited.run is not None else "ended"))
        if waited.error is not None:
            self._line(f"{waited.error.code}: {waited.error.message}", RED)
        for question in waited.interrupts or []:
            self._line(f"it asks: {_brief(question.get('value'), 1000)}", YELLOW)
        self._line(status, {"success": GREEN, "interrupted": YELLOW}.get(status, RED))
        self._screen.finish()

    def _say(self, message: Mapping[str, Any]) -> None:
        text, name = _text(message.get("content")), str(message.get("id"))
        if message.get("delta"):
            if self._message != name:
                self._line_end()
                self._screen.write(f"{_one_line(message.get('role'))}: ")
            self._message = name
            self._screen.write(_harmless(text))
        elif self._message == name:
            # The whole of what was written piece by piece.
            self._line_end()
        else:
            self._line_end()
            self._screen.write(f"{_one_line(message.get('role'))}: {_harmless(text)}\n")

    def _line(self, text: str, style: str = "") -> None:
        self._line_end()
        self._screen.write(_one_line(text), style)
        self._screen.write("\n")

    def _line_end(self) -> None:
        if self._message is not None:
            self._screen.write("\n")
        self._message = None


def _fields(data: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", data) if isinstance(data, Mapping) else {}


def _brief(value: object, width: int = WIDTH) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"


def _text(content: Any) -> str:
    """The text of a message: itself, or that of its text blocks."""
    if isinstance(content, str):
        return content
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    texts = (cast("Mapping[str, Any]", block).get("text") for block in blocks if isinstance(block, Mapping))
    return "".join(text for text in texts if isinstance(text, str))


def _one_line(text: object) -> str:
    return " ".join(_harmless(str(text)).split("\n"))


def _harmless(text: str) -> str:
    """Without what would steer a terminal: an agent's output may be anybody's."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())
