"""What `runyard tail` looks like: a tree that is drawn anew on a terminal, plain lines in a pipe."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, cast

from ap_client.assembly import MessageState, text_of, tool_calls_of
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from rich.tree import Tree

from runyard.cli.scene import Branch, Item, Notice, Question, Scene, ToolCall
from runyard.cli.show import brief, visible

if TYPE_CHECKING:
    from ap_client.thread_events import ThreadEvent

MOST_ITEMS = 8
"""Things of one branch that are drawn while it is at work: the newest."""
MOST_TEXT = 600
"""Characters of a message that is being written."""
FRAMES_PER_SECOND = 12
_MARKS = {
    "started": ("○", "dim"), "running": ("●", "cyan"), "completed": ("✓", "green"), "failed": ("✗", "red"),
    "interrupted": ("■", "yellow"),
}  # fmt: skip
_ROLES = {"ai": "assistant", "human": "user"}


class Picture(Protocol):
    """What shows the events of a thread."""

    def take(self, event: ThreadEvent) -> None:
        """One more event."""
        ...


@contextmanager
def picture(live: bool) -> Generator[Picture]:
    """The picture for a terminal, or (not `live`) for a pipe."""
    if not live:
        yield Lines(Console(highlight=False, markup=False, emoji=False, width=10_000, no_color=True))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    # Drawn by a clock of its own, so that a thousand tokens a second are not a thousand pictures.
    with Live(console=console, refresh_per_second=FRAMES_PER_SECOND, vertical_overflow="ellipsis") as drawn:
        shown = Drawn(console, drawn)
        yield shown
        shown.end()


class _Scenes:
    """The runs of a thread, one after the other; queued ones may tell their own in between."""

    def __init__(self) -> None:
        self.scene = Scene(None)

    def of(self, event: ThreadEvent) -> Scene:
        """The scene of an event's run."""
        if event.run_id is not None and event.run_id != self.scene.run_id:
            if self.scene.run_id is None:
                self.scene.run_id = event.run_id
            else:
                state = self.scene.state
                self.scene = Scene(event.run_id)
                self.scene.state = state
        return self.scene


class Drawn:
    """On a terminal: the run under way as a tree, and those that have ended above it."""

    def __init__(self, console: Console, live: Live) -> None:
        self._console = console
        self._live = live
        self._scenes = _Scenes()

    def take(self, event: ThreadEvent) -> None:
        """One more event."""
        before = self._scenes.scene
        scene = self._scenes.of(event)
        if scene is not before and not before.over and before.run_id is not None:
            self._console.print(drawn(before, whole=True))
        was_over = scene.over
        scene.take(event)
        if scene.over and not was_over:
            self._live.update(Text(""), refresh=True)
            self._console.print(drawn(scene, whole=True))
        elif not scene.over:
            self._live.update(drawn(scene, whole=False))

    def end(self) -> None:
        """The last picture stays."""
        if self._scenes.scene.over:
            self._live.update(Text(""))


def drawn(scene: Scene, *, whole: bool) -> RenderableType:
    """A run as a tree: all of it, or what there is room for while it is at work."""
    tree = _branch(scene.root, whole)
    if scene.attempt > 1:
        tree.label = Text.assemble(_title(scene.root), (f"  attempt {scene.attempt}", "dim"))
    parts: list[RenderableType] = [tree]
    state = beside_messages(scene.state)
    if state:
        parts.append(Text.assemble(("state ", "dim"), brief(state, 160)))
    return Group(*parts)


def beside_messages(state: Any) -> Any:
    """What a state holds beside the messages, which stand in the tree."""
    if not isinstance(state, dict):
        return state
    return {key: value for key, value in cast("dict[str, Any]", state).items() if key != "messages"}


def _branch(branch: Branch, whole: bool) -> Tree:
    tree = Tree(_title(branch), guide_style="dim")
    items = branch.items if whole else branch.items[-MOST_ITEMS:]
    if len(items) < len(branch.items):
        tree.add(Text(f"… {len(branch.items) - len(items)} before", "dim"))
    for item in items:
        tree.add(_branch(item, whole) if isinstance(item, Branch) else _leaf(item, whole))
    if branch.error:
        tree.add(Text(visible(branch.error), "red"))
    return tree


def _title(branch: Branch) -> Text:
    mark, style = _MARKS.get(branch.status, ("○", "dim"))
    return Text.assemble((f"{mark} ", style), (branch.name, "bold"), (f"  {branch.status}", style))


def _leaf(item: Item, whole: bool) -> Text:
    match item:
        case MessageState():
            text, more = said(item), ""
            if not whole and len(text) > MOST_TEXT:
                text, more = text[-MOST_TEXT:], "…"
            style = "" if item.status in ("streaming", "complete") else "dim"
            return Text.assemble((f"{_ROLES.get(item.role, item.role)}: ", "bold"), more, (text, style))
        case ToolCall():
            return Text.assemble(("⚙ ", "magenta"), *_call(item))
        case Question():
            style = "dim" if item.answered else "yellow"
            return Text(f"? {brief(item.payload, 200)}" + ("  answered" if item.answered else ""), style)
        case Notice():
            return Text.assemble((f"{item.name}: ", "blue"), brief(item.payload, 160))
        case Branch():
            return _title(item)


def _call(call: ToolCall) -> list[tuple[str, str]]:
    parts = [(f"{call.name}({'' if call.input is None else brief(call.input, 80)})", "")]
    if call.error is not None:
        parts.append((f" failed: {brief(call.error, 120)}", "red"))
    elif call.done:
        parts.append((f" → {brief(result_of(call.output), 120)}", "dim"))
    elif call.pieces:
        parts.append((f" … {visible(''.join(call.pieces)[-80:])}", "dim"))
    return parts


def result_of(output: Any) -> Any:
    """What a tool gave: of a tool's message its content."""
    return output.get("content", output) if isinstance(output, dict) else output  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def said(message: MessageState) -> str:
    """A message as text: what it says, and what it calls."""
    text = text_of(message.blocks)
    calls = [f"[{call.get('name')}({brief(call.get('args'), 60)})]" for call in tool_calls_of(message.blocks)]
    others = [f"[{block.get('type')}]" for block in message.blocks if block.get("type") in _SHOWN_BY_NAME]
    failed = [f"(failed: {message.error[1]})"] if message.error is not None else []
    return visible(" ".join(part for part in (text, *calls, *others, *failed) if part))


_SHOWN_BY_NAME = ("image", "audio", "video", "file", "non_standard", "server_tool_call", "server_tool_result")


class Lines:
    """In a pipe: a line for each thing when it is complete, indented by how deep it is."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._scenes = _Scenes()
        self._writing: dict[str, MessageState] = {}

    def take(self, event: ThreadEvent) -> None:
        """One more event."""
        scene = self._scenes.of(event)
        item = scene.take(event)
        self._finish(event)
        depth = len(event.namespace)
        match item:
            case MessageState():
                self._writing[item.id] = item
                self._finish(event)
            case ToolCall() if event.data.get("event") != "tool-output-delta":
                self._print(depth + 1, "⚙ " + "".join(text for text, _ in _call(item)))
            case Question():
                self._print(depth + 1, f"? {brief(item.payload, 400)}  (question {item.id})")
            case Notice():
                self._print(depth + 1, f"{item.name}: {brief(item.payload, 400)}")
            case Branch() if item.status != "running" or scene.attempt > 1:
                mark, _ = _MARKS.get(item.status, ("○", ""))
                error = f": {visible(item.error)}" if item.error else ""
                again = f", attempt {scene.attempt}" if not depth and scene.attempt > 1 else ""
                self._print(depth, f"{mark} {item.name} {item.status}{again}{error}")
                state = beside_messages(scene.state)
                if not depth and scene.over and state:
                    self._print(0, f"state {brief(state, 2000)}")
            case _:
                pass

    def _finish(self, event: ThreadEvent) -> None:
        for id, message in tuple(self._writing.items()):
            if message.status != "streaming":
                del self._writing[id]
                note = "" if message.status == "complete" else f"  ({message.status})"
                role = _ROLES.get(message.role, message.role)
                self._print(len(message.namespace) + 1, f"{role}: {said(message)}{note}")

    def _print(self, depth: int, text: str) -> None:
        self._console.print("  " * depth + text.replace("\n", "\n" + "  " * (depth + 1)))
