"""Checkpoints: saved states of a thread, stored as differences.

A state is a mapping of channels. Here a channel's value is its JSON text, never a Python object: a state is rendered,
stored and compared by joining bytes, so that the cost of a step is the cost of what it changed.

A checkpoint's body is either `full` (the whole state as one JSON object) or `delta` (changes against its parent). The
rule of `plan` keeps a conversation of n turns at O(n) bytes, and the reading of any state at O(its size): a full
snapshot is written when the deltas since the last one, each weighed with a row's overhead, outweigh it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from runyard.errors import InvalidInput

State = dict[str, bytes]
"""Channel name -> JSON text of its value. A name that begins with `HIDDEN` belongs to a runtime: it is stored, copied
and rolled back like the others, and never shown."""

HIDDEN = "\x01"
"""With what the names of channels begin that hold a runtime's own record of a state. No client can send such a name."""
NAME = HIDDEN + "id"
"""The hidden channel with the id (a JSON string) by which a runtime knows the state. Checkpoints that others put on top
of the runtime's (a PATCH, an open question) keep it, and so what hangs on it: pending writes."""

ROW_OVERHEAD = 200
"""Bytes that one more delta row costs a reader, in the currency of snapshot bytes (a b-tree step and a decode)."""

Source = Literal["input", "step", "update", "fork", "interrupt"]


class Change(msgspec.Struct, array_like=True, frozen=True):
    """What happened to one channel: a new value, or (with `at`) elements appended to a list that had `at` elements; or
    (with `at` of `REMOVED`) it is there no more."""

    value: msgspec.Raw
    at: int | None = None


Changes = dict[str, Change]

HIDDEN_FREE = 400
"""Bytes of a runtime's own record in a delta that weigh nothing: each one replaces the one before, and only the last is
ever read."""
REMOVED = -1
"""What stands for the place where elements are appended, in the change that removes a channel."""

_CHANGES = msgspec.json.Decoder(Changes)
_STATE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


BREAKPOINT = "breakpoint:"
"""With what the id of a question begins that nobody asked: a graph stands where it was told to stop, and any answer
lets it go on."""


NO_SCHEMA = msgspec.Raw(b"null")


class Question(msgspec.Struct, frozen=True):
    """One open interrupt: what a human is asked. `value` is the payload as JSON text."""

    id: str
    value: msgspec.Raw
    name: str = ""
    nth: int = 1
    namespace: str = ""
    """Where in a graph it was asked: as `events.Entry.namespace`."""
    schema: msgspec.Raw = NO_SCHEMA
    """The JSON Schema that an answer is to fit, as JSON text; null where none was given."""

    @property
    def is_breakpoint(self) -> bool:
        """Whether nobody asked it."""
        return self.id.startswith(BREAKPOINT)


class Asked(msgspec.Struct, frozen=True):
    """Why a thread waits for a human, and how to go on: kept on the checkpoint that ended the asking run."""

    invocation: str
    agent_id: str
    base: str | None
    """The checkpoint from which the invocation started; None for an empty thread."""
    questions: list[Question]
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    """The original input, JSON text, with which the code is entered again."""


def answers_of(asked: Asked, resume: bytes) -> dict[str, bytes]:
    """Which open question gets which answer: an object keyed by question ids answers those; anything else answers
    the only one.

    Raises:
        InvalidInput: several questions are open, and the answer does not name one of them.
    """
    ids = {question.id for question in asked.questions}
    if resume[:1] == b"{":
        named = _STATE.decode(resume)
        if named and named.keys() <= ids:
            return {question: bytes(answer) for question, answer in named.items()}
    if len(asked.questions) == 1:
        return {asked.questions[0].id: resume}
    raise InvalidInput(
        f"command.resume must be an object of answers by question id: {len(ids)} questions are open "
        f"({', '.join(sorted(ids))})",
        field="command.resume",
        questions=sorted(ids),
    )


class Checkpoint(msgspec.Struct, frozen=True):
    """One saved state, as stored. Sizes are bytes: `full_size` of the nearest full snapshot at or above it,
    `chain_size` the weight of the deltas since."""

    checkpoint_id: str
    thread_id: str
    parent_id: str | None
    run_id: str | None
    created_at: int
    step: int
    source: Source
    kind: Literal["full", "delta"]
    body: bytes
    full_size: int
    chain_size: int
    asked: Asked | None = None
    namespace: str = ""
    """The subgraph whose state it is, as the path of the nodes that lead there (`node:task|node:task`); empty for the
    thread's own states, which alone are its history and can be its head."""


class PendingWrite(msgspec.Struct, frozen=True):
    """What a task of a graph gave on top of a state, before the checkpoint of its step is there.

    The key is (namespace, on, task_id, index); `on` is the id by which the runtime knows the state (see `NAME`).
    Those of a state are read in the order of (path, task_id, index).
    """

    namespace: str
    on: str
    task_id: str
    index: int
    """The place among the task's writes; negative for what is kept once per task (its error, its question)."""
    channel: str
    value: bytes
    path: str = ""
    run_id: str = ""
    """The run that gave it; empty for what comes from outside any run."""


class Snapshot(msgspec.Struct, frozen=True):
    """A checkpoint with its whole state."""

    checkpoint: Checkpoint
    state: State


def set_to(value: bytes) -> Change:
    """The change that replaces a channel."""
    return Change(msgspec.Raw(value))


def append(at: int, tail: bytes) -> Change:
    """The change that appends the JSON array `tail` to a list of `at` elements."""
    return Change(msgspec.Raw(tail), at)


def remove() -> Change:
    """The change that removes a channel."""
    return Change(msgspec.Raw(b"null"), REMOVED)


def apply(state: Mapping[str, bytes], changes: Changes) -> State:
    """The state after `changes`; the given one stays as it is."""
    result = dict(state)
    for channel, change in changes.items():
        value = bytes(change.value)
        if change.at is None:
            result[channel] = value
        elif change.at == REMOVED:
            result.pop(channel, None)
        else:
            result[channel] = _joined(result.get(channel, b"[]"), value)
    return result


def _joined(head: bytes, tail: bytes) -> bytes:
    if tail == b"[]":
        return head
    return tail if head == b"[]" else head[:-1] + b"," + tail[1:]


def check_channels(field: str, values: Iterable[str]) -> None:
    """Refuses names that clients cannot give to channels.

    Raises:
        InvalidInput: naming `field`, where the values stand.
    """
    for channel in values:
        if channel[:1] == HIDDEN:
            raise InvalidInput(f"{field} has the key {channel!r}: such names are the server's own", field=field)


def shown(state: Mapping[str, bytes]) -> State:
    """The state without what is hidden in it."""
    return {channel: value for channel, value in state.items() if channel[:1] != HIDDEN}


def name_of(state: Mapping[str, bytes]) -> str | None:
    """The id by which a runtime knows the state; None where none does."""
    text = state.get(NAME)
    return None if text is None else msgspec.json.decode(text, type=str)


def render(state: Mapping[str, bytes]) -> bytes:
    """The whole state as one JSON object."""
    return b"{" + b",".join(_ENCODER.encode(channel) + b":" + value for channel, value in state.items()) + b"}"


def parse(body: bytes) -> State:
    """The inverse of `render`."""
    return {channel: bytes(value) for channel, value in _STATE.decode(body).items()}


def plan(
    *,
    checkpoint_id: str,
    thread_id: str,
    parent: Checkpoint | None,
    changes: Changes,
    state: Mapping[str, bytes],
    run_id: str | None,
    created_at: int,
    source: Source,
    asked: Asked | None = None,
    namespace: str = "",
) -> Checkpoint:
    """The row for a new checkpoint: `state` is the whole state after `changes` on top of `parent`."""
    delta = _ENCODER.encode(changes)
    weight = len(delta) + ROW_OVERHEAD - min(HIDDEN_FREE, _hidden_bytes(changes))
    step = 0 if parent is None else parent.step + 1
    full = parent is None or parent.chain_size + weight > parent.full_size + ROW_OVERHEAD
    body = render(state) if full else delta
    return Checkpoint(
        checkpoint_id=checkpoint_id,
        thread_id=thread_id,
        parent_id=None if parent is None else parent.checkpoint_id,
        run_id=run_id,
        created_at=created_at,
        step=step,
        source=source,
        kind="full" if full else "delta",
        body=body,
        full_size=len(body) if parent is None or full else parent.full_size,
        chain_size=0 if parent is None or full else parent.chain_size + weight,
        asked=asked,
        namespace=namespace,
    )


def _hidden_bytes(changes: Changes) -> int:
    return sum(len(change.value) for channel, change in changes.items() if channel[:1] == HIDDEN)


def fold(bodies: Iterable[tuple[str, bytes]]) -> State:
    """The state at the end of a chain of `(kind, body)`, oldest first, beginning with a full one.

    Appended tails are joined once at the end, so that folding costs what it reads.
    """
    whole: State = {}
    tails: dict[str, list[bytes]] = {}
    for kind, body in bodies:
        if kind == "full":
            whole, tails = parse(body), {}
            continue
        for channel, change in _CHANGES.decode(body).items():
            value = bytes(change.value)
            if change.at is None:
                whole[channel] = value
                tails.pop(channel, None)
            elif change.at == REMOVED:
                whole.pop(channel, None)
                tails.pop(channel, None)
            elif value != b"[]":
                tails.setdefault(channel, []).append(value)
    for channel, pieces in tails.items():
        parts = [piece[1:-1] for piece in [whole.get(channel, b"[]"), *pieces] if piece != b"[]"]
        whole[channel] = b"[" + b",".join(parts) + b"]"
    return whole
