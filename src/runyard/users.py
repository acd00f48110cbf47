"""Users: on whose behalf something is done, as the deployment's own code says. Data and pure rules.

The names of keys are those that code for LangGraph Platform knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, cast

from runyard.runs import Acting

USER = "langgraph_auth_user"
USER_ID = "langgraph_auth_user_id"
PERMISSIONS = "langgraph_auth_permissions"
KEYS = frozenset({USER, USER_ID, PERMISSIONS})
"""Keys of `config.configurable` that are the server's to set, whatever a client sends."""

ACTING: ContextVar[Acting | None] = ContextVar("runyard_acting", default=None)
"""The user of the request that executes here, for agents' code that is asked something outside of runs."""


class User(Mapping[str, Any]):
    """A user as handlers and agents see it: by attributes and by keys alike."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """`identity` is in the fields, as a text."""
        self._fields: dict[str, Any] = {
            "is_authenticated": True, "display_name": fields["identity"], "permissions": [], **fields,
        }  # fmt: skip

    @property
    def identity(self) -> str:
        return self._fields["identity"]

    @property
    def display_name(self) -> str:
        return self._fields["display_name"]

    @property
    def is_authenticated(self) -> bool:
        return self._fields["is_authenticated"]

    @property
    def permissions(self) -> list[str]:
        return self._fields["permissions"]

    def __getattr__(self, name: str) -> Any:
        try:
            return cast("dict[str, Any]", object.__getattribute__(self, "_fields"))[name]
        except KeyError:
            raise AttributeError(f"this user has no {name!r}; it has {', '.join(self._fields)}") from None

    def __getitem__(self, key: str) -> Any:
        return self._fields[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        # What else is known of them may be a secret, and users end up in logs.
        return f"User(identity={self.identity!r})"

    def __reduce__(self) -> Any:
        return User, (self._fields,)

    def to_dict(self) -> dict[str, Any]:
        """All that is known."""
        return dict(self._fields)


def with_user(config: dict[str, Any], acting: Acting | None) -> dict[str, Any]:
    """A run's configuration as its agent sees it: with the user, and without what a client says of one."""
    given: dict[str, Any] = config.get("configurable") or {}
    own = {key: value for key, value in given.items() if key not in KEYS}
    if acting is not None:
        own |= {USER: acting.user, USER_ID: acting.identity, PERMISSIONS: acting.permissions}
    return config if own == given else {**config, "configurable": own}
