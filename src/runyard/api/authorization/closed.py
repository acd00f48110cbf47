"""What is the same about everything that a request is given instead of the server's own: what nobody has thought of is
closed."""

from __future__ import annotations

from typing import Any

from runyard.errors import Forbidden


class Closed:
    """A part of the engine as one request may use it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Forbidden(
            f"this is not allowed to anybody while auth is in force: nobody has said who may use {type(self).__name__}."
            f"{name}",
            part=f"{type(self).__name__}.{name}",
        )
