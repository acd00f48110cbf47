"""Headers of a request that agents are told: which they are. Data and pure rules.

What is copied is stored with a run, and shown to whoever may read that. So what opens doors is never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

NEVER = frozenset({
    "authorization", "proxy-authorization", "x-api-key", "x-tenant-id", "x-service-key", "runyard-owner",
    "thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map",
})  # fmt: skip
"""Names that are not copied, whoever asks for them: keys and tokens, and what only the server says of a run."""
BY_NAME_ONLY = frozenset({"cookie"})
"""Names that no pattern with a `*` means."""


@dataclass(frozen=True)
class Copied:
    """Names of headers, in any case; `*` in one stands for any characters. What `excludes` names is not copied."""

    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    _wanted: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _unwanted: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wanted", _pattern(self.includes))
        object.__setattr__(self, "_unwanted", _pattern(self.excludes))

    def of(self, headers: Mapping[bytes, bytes]) -> dict[str, str]:
        """Those that are copied, by their names in lower case."""
        if not self.includes:
            return {}
        named = ((raw.decode("latin-1").lower(), value.decode("latin-1")) for raw, value in headers.items())
        return {name: value for name, value in named if self._takes(name) and "\0" not in value}

    def _takes(self, name: str) -> bool:
        if name in NEVER or name.startswith("__") or self._unwanted.fullmatch(name):
            return False
        if name in BY_NAME_ONLY:
            return name in map(str.lower, self.includes)
        return self._wanted.fullmatch(name) is not None


def _pattern(names: Iterable[str]) -> re.Pattern[str]:
    """What one of the names means; none of them means nothing."""
    spelled = [".*".join(map(re.escape, name.lower().split("*"))) for name in names]
    return re.compile("|".join(spelled) if spelled else "(?!)", re.DOTALL)
