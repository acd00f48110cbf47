"""Broken and forged rows: stored states, typed values and pending writes of graphs, mutated and read again.

Whatever stands in a row, reading it gives a value or the one error for such rows, and executes nothing: no module is
imported, no file opened, no process started, no code compiled. An audit hook of the interpreter watches.
"""

from __future__ import annotations

import base64
import dataclasses
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import ormsgpack
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command, Interrupt, Send
from pydantic import BaseModel, field_validator

from runyard.checkpoints import HIDDEN, State, apply
from runyard.errors import CorruptCheckpoint
from runyard.runtime.langgraph.codec import Codec

WATCHED = (
    "import", "exec", "compile", "open", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "shutil.", "builtins.",
    "code.", "marshal.", "tempfile.", "sqlite3.", "urllib.", "pty.", "pathlib.", "glob.", "cpython.", "webbrowser.",
)  # fmt: skip
"""With what the names of audit events begin that no row may cause."""
LOOKS = ("os.listdir", "os.scandir", "builtins.id")
"""Events of the interpreter's own looking around."""

BAIT = [
    ("os", "system", "true", None), ("builtins", "eval", "1", None), ("builtins", "exec", "1", None),
    ("builtins", "__import__", "this", None), ("builtins", "open", "/dev/null", None),
    ("subprocess", "Popen", "true", None), ("subprocess", "run", ["true"], None),
    ("pickle", "loads", b"cos\nsystem\n(S'true'\ntR.", None),
    ("importlib", "import_module", "this", None), ("runpy", "run_module", "this", None), ("ctypes", "CDLL", "x", None),
    ("socket", "create_connection", ["127.0.0.1", 1], None), ("shutil", "rmtree", "/nonexistent", None),
    ("codecs", "open", "/dev/null", None), ("antigravity", "x", "y", None), ("this", "d", {}, None),
    ("fuzz.rows", "Trap", {"x": 1}, None), ("fuzz.rows", "Trap", "x", "model_validate"),
    ("fuzz.rows", "Model", {"x": 1}, None), ("fuzz.rows", "Model", '{"x":1}', "model_validate_json"),
    ("fuzz.rows", "Model", '{"x":1}', "parse_raw"), ("fuzz.rows", "spring", 1, None),
    ("datetime", "datetime", "2026-01-01", "fromtimestamp"), ("datetime", "datetime", "2026-01-01", "__class__"),
    ("langchain_core.load", "loads", '{"lc":1}', None), ("langchain_core.load.load", "Reviver", {}, None),
    ("langchain_core.messages.ai", "logger", "x", "handlers"), ("langchain_core.messages.ai", "json", "1", "loads"),
    ("fuzz.rows", "Allowed.__init__.__globals__", {}, None), ("fuzz.rows", "Allowed.trap", 1, None),
    ("zoneinfo", "ZoneInfo", "../../etc/passwd", None), ("zoneinfo", "ZoneInfo", "No/Where", None),
    ("pathlib", "Path", ["/etc/passwd"], "read_text"), ("re", "compile", ["(a"], None),
    ("langgraph.checkpoint.serde.jsonplus", "LC_REVIVER", {"lc": 1, "type": "constructor"}, None),
]  # fmt: skip
"""(module, name, argument, method): what a forger would name."""
ARGUMENTS: list[Any] = [
    None, True, -1, 2**63, 1e300, "", "x", "9" * 5000, "2026-01-01", b"\xff", "\0", "../../etc/passwd",
    "[[a]", "(" * 500,
    [], [1, 2], ["a+", 128], ["[[a]", 0], [["a"]], ["/etc", "passwd"], [10**9, 0, 0], ["n", {"a": [1]}, 1], {"x": 1},
    {"content": 5}, {"content": "a", "type": "b"}, {"__class__": 1}, {"_fields_set": 1, "content": "a"}, {1: 2},
    {"hour": 25}, {"value": 1, "id": "i"}, {"update": 1, "goto": "x"}, {"self": 1}, {"__init__": 1, "__dict__": {}},
]  # fmt: skip
"""What the classes that may be made are given."""


def spring(*args: Any, **kwargs: Any) -> Any:
    """What must not be called."""
    sys.audit("exec", "a trap was sprung")
    return args, kwargs


class Trap:
    """A class whose making is seen."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        spring(*args, **kwargs)


class Model(BaseModel):
    """A model whose validation is seen."""

    x: int

    @field_validator("x", mode="before")
    @classmethod
    def look(cls, value: Any) -> Any:
        spring(value)
        return value


@dataclasses.dataclass
class Allowed:
    """A class that the graph has."""

    x: int
    y: Any = None

    trap = Trap


LISTED = [
    *[("langchain_core.messages." + module, name) for module, name in (
        ("human", "HumanMessage"), ("ai", "AIMessage"), ("ai", "AIMessageChunk"), ("tool", "ToolMessage"),
        ("modifier", "RemoveMessage"), ("base", "BaseMessage"),
    )],
    *[("datetime", name) for name in ("datetime", "date", "time", "timedelta", "timezone")],
    *[("langgraph.types", name) for name in ("Send", "Interrupt", "Command", "Overwrite", "StateSnapshot")],
    ("langchain_core.documents.base", "Document"), ("langgraph.store.base", "Item"), ("builtins", "set"),
    ("builtins", "frozenset"), ("collections", "deque"), ("uuid", "UUID"), ("decimal", "Decimal"), ("re", "compile"),
    ("pathlib", "Path"), ("zoneinfo", "ZoneInfo"), ("ipaddress", "IPv4Network"), ("ipaddress", "IPv6Address"),
    (Allowed.__module__, "Allowed"),
]  # fmt: skip
"""Classes that may be made."""


class Watch:
    """Notes audit events while it is on. Hooks cannot be taken out again: one lasts as long as the process."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self.on and event.startswith(WATCHED) and event not in LOOKS:
            self.seen.append(f"{event} {args!r:.120}")


@dataclasses.dataclass
class Findings:
    """What a round came to."""

    rows: int = 0
    outcomes: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


class Rows:
    """Makes rows: good ones, and from them bad ones."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.codec = Codec({(Allowed.__module__, "Allowed")})
        self.states = list(self._states())
        values = [
            {"a": [1, HumanMessage("x")]}, HumanMessage("x"), [AIMessage("a"), HumanMessage("b")], Allowed(1, {2}), {3},
            Send("n", {"a": 1}), Command(goto="x"), (Interrupt("q", id="i"),), "text", b"bytes",
        ]  # fmt: skip
        self.writes = [self.codec.encode_write(value) for value in values]

    def _states(self) -> Iterator[State]:
        odd = ToolMessage("t", tool_call_id="1", artifact={1})
        for values in (
            {
                "messages": [
                    HumanMessage("a", id="1"),
                    AIMessage("b", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
                ]
            },
            {"messages": [HumanMessage("a"), odd], "point": Allowed(1), "points": [Allowed(1), 2], "n": 1.5},
            {"one": HumanMessage("a"), "__start__": {"m": [HumanMessage("a")]}, "branch:to:x": None},
            {"__root__": [1, {2}], "__pregel_tasks": [Send("n", Allowed(1))]},
        ):
            checkpoint = {
                "v": 4,
                "id": "1f0",
                "ts": "2026-01-01T00:00:00+00:00",
                "channel_values": values,
                "channel_versions": dict.fromkeys(values, 2),
                "versions_seen": {"__input__": {}, "node": dict.fromkeys(values, 1)},
                "updated_channels": sorted(values),
            }
            changes, _ = self.codec.encode(checkpoint, {"source": "loop", "step": 1, "x": {1}}, parent_id="1ef")
            yield apply({}, changes)

    def bad(self) -> tuple[str, Callable[[], Any], Any]:
        """How a bad row was made, how it is read, and the row."""
        kind = self._random.randrange(4)
        if kind == 0:
            write = b"t" + b"m" + self._forged()
            return "forged write", lambda: self.codec.decode_write(write), write
        if kind == 1:
            data = self._broken(self._random.choice(self.writes))
            return "broken write", lambda: self.codec.decode_write(data), data
        state = dict(self._random.choice(self.states))
        if kind == 2:
            name = self._random.choice(list(state))
            state[name] = self._broken(state[name])
            return "broken state", lambda: self.codec.decode(state), state
        self._forge(state)
        return "forged state", lambda: self.codec.decode(state), state

    def _broken(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(self._random.choice([1, 1, 2, 5])):
            place = self._random.randrange(len(damaged) + 1)
            match self._random.randrange(5):
                case 0 if place < len(damaged):
                    damaged[place] ^= 1 << self._random.randrange(8)
                case 1 if place < len(damaged):
                    damaged[place] = self._random.randrange(256)
                case 2:
                    del damaged[place : place + self._random.randrange(1, 9)]
                case 3:
                    damaged[place:place] = self._forged()
                case _:
                    damaged[place:place] = self._random.randbytes(self._random.randrange(1, 4))
        return bytes(damaged)

    def _forged(self) -> bytes:
        """A typed value that names what a forger would name, maybe inside others."""
        if self._random.random() < 0.05:
            return self._swollen()
        module, name, argument, method = self._random.choice(BAIT)
        if self._random.random() < 0.3:
            (module, name), argument, method = self._random.choice(LISTED), self._random.choice(ARGUMENTS), None
        code = self._random.choice([0, 1, 2, 3, 4, 5, 6, 7, self._random.randrange(128)])
        shaped = self._random.choice([argument, [argument], {"x": argument}, {}])
        row: tuple[Any, ...] = (module, name, shaped)
        if method is not None or code == 3:
            row = (*row, method or "__call__")
        value: Any = ormsgpack.Ext(code, ormsgpack.packb(row, option=ormsgpack.OPT_NON_STR_KEYS))
        for _ in range(self._random.randrange(3)):
            if self._random.random() < 0.5:
                value = [value, {"a": value}]
            else:
                inner = ("fuzz.rows", "Allowed", {"x": 1, "y": value})
                value = ormsgpack.Ext(2, ormsgpack.packb(inner, default=_refuse))
        return ormsgpack.packb(value)

    def _swollen(self) -> bytes:
        """What is deeper than a stack, or says that it is longer than memory."""
        depth = self._random.choice([90, 110, 1000, 5000])
        match self._random.randrange(4):
            case 0:
                return self._random.choice([b"\x91", b"\x81\xa1a", b"\x81\x91"]) * depth + b"\xc0"
            case 1:
                length = self._random.choice([2**16, 2**28, 2**32 - 1])
                code = self._random.choice([b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
                return (code + length.to_bytes(4, "big")) * self._random.choice([1, 100])
            case 2:
                return b"\x93" + self._forged() * 2
            case _:
                value = ormsgpack.packb(("os", "system", "true"))
                for _ in range(depth // 10):
                    value = ormsgpack.packb(ormsgpack.Ext(self._random.choice([0, 2, 5, 7]), value))
                return value

    def _forge(self, state: State) -> None:
        forged = base64.b64encode(b"m" + self._forged()).decode()
        match self._random.randrange(5):
            case 0:
                header = msgspec.json.decode(state[HIDDEN + "graph"])
                place = self._random.randrange(len(header))
                header[place] = self._random.choice(
                    [[], {}, -1, 10**30, "x", [[1, forged]], [[0, 1, forged]], [1, forged]]
                )
                state[HIDDEN + "graph"] = msgspec.json.encode(header)
            case 1:
                state[HIDDEN + "about"] = msgspec.json.encode([1, forged])
            case 2:
                state[HIDDEN + "names"] = msgspec.json.encode(self._random.choice([[], [1], {}, ["__init__"] * 9]))
            case 3:
                header = msgspec.json.decode(state[HIDDEN + "graph"])
                header[8].append([0, 1, forged])
                state[HIDDEN + "graph"] = msgspec.json.encode(header)
            case _:
                for name in [name for name in state if name.startswith(HIDDEN + "t:")]:
                    twin = msgspec.json.decode(state[name])
                    changed = self._retwinned(twin) if isinstance(twin, str) else [
                        self._retwinned(one) if isinstance(one, str) else one for one in twin
                    ]  # fmt: skip
                    state[name] = msgspec.json.encode(changed)

    def _retwinned(self, twin: str) -> str:
        """A twin that still fits what is seen, with another value in it."""
        value = base64.b64decode(twin[8:])
        other = self._broken(value) if self._random.random() < 0.5 else b"m" + self._forged()
        return twin[:8] + base64.b64encode(other).decode()


def _refuse(value: Any) -> Any:
    raise TypeError(type(value).__name__)


def drive(seed: int, rows: int) -> Findings:
    """Reads so many bad rows.

    Raises:
        RuntimeError: the watch itself does not see what it should.
    """
    made = Rows(seed)
    watch = Watch()
    _try_the_watch(watch)
    _warm_up(made)
    findings = Findings()
    begun = time.perf_counter()
    for number in range(rows):
        how, read, row = made.bad()
        problem = None
        watch.on = True
        try:
            read()
            outcome = "read"
        except CorruptCheckpoint:
            outcome = "refused"
        except BaseException as error:
            outcome, problem = "failed", f"{type(error).__name__}: {error}"
        finally:
            watch.on = False
        if watch.seen:
            outcome, problem = "executed", "; ".join(watch.seen)
            watch.seen.clear()
        findings.outcomes[f"{how}: {outcome}"] += 1
        if problem is not None and len(findings.failures) < 20:
            findings.failures.append(f"row {number}, {how}: {problem}\n  {row!r:.2000}")
    findings.rows = rows
    findings.seconds = time.perf_counter() - begun
    return findings


def _try_the_watch(watch: Watch) -> None:
    watch.on = True
    spring()
    open(os.devnull).close()
    watch.on = False
    if len(watch.seen) < 2:
        raise RuntimeError("the watch does not see what it should")
    watch.seen.clear()


def _warm_up(made: Rows) -> None:
    """What the libraries import when they are first used is theirs, and is there before the watch begins."""
    # Python shows a warning of a pattern (of "[[a]") with the line of our source that it opens for that.
    warnings.simplefilter("ignore", FutureWarning)
    for state in made.states:
        made.codec.decode(state)
    for write in made.writes:
        made.codec.decode_write(write)
