"""The rules of a deployment, as an `Auth` object of the SDK: what each test wants of them, and what they were asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph_sdk import Auth

ASKED: list[tuple[str, str, str, dict[str, Any]]] = []
"""(identity, resource, action, value) in their order: the module is made anew for each test that loads it."""
RULES: dict[str, Any] = {}
"""`resource.action` -> what the handler gives (called with the context and the value where it can be)."""


def plain(value: Any) -> Any:
    """A value as it was when the handler was asked, its ids as texts."""
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | tuple) else str(value)


auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> dict[str, Any]:
    scheme, _, name = (authorization or "").partition(" ")
    if scheme != "Bearer" or not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?", headers={"X-Hint": "Bearer NAME"})
    return {"identity": name, "permissions": ["talk"], "team": "crimson"}


@auth.on
async def everything(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    ASKED.append((ctx.user.identity, ctx.resource, ctx.action, plain(value)))
    rule = RULES.get(f"{ctx.resource}.{ctx.action}", RULES.get(ctx.resource, RULES.get("*")))
    return rule(ctx, value) if callable(rule) else rule


def own(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    """The rule of the vendor's tutorial: everything is its maker's."""
    mine = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(mine)
    return mine
