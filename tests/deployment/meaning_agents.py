"""Function agents that search by meaning, awaiting and blocking."""

from __future__ import annotations

from typing import Any

from runyard import Context, SyncContext, agent


def told(found: list[Any]) -> list[Any]:
    return [[item.key, None if item.score is None else round(item.score, 3)] for item in found]


@agent
async def recalls(ctx: Context) -> dict[str, Any]:
    """Keeps, asks, and recalls: what was kept before the question is not embedded again after it."""
    await ctx.store.put(["facts"], "tea", {"text": "green tea"})
    await ctx.store.put(["facts"], "sea", {"text": "sea", "title": "green tea"}, index=["title"])
    await ctx.store.put(["facts"], "none", {"text": "green tea"}, index=False)
    await ctx.interrupt("go on?")
    found = await ctx.store.search(["facts"], query="green")
    return {"found": told(found), "all": told(await ctx.store.search(["facts"], limit=1))}


@agent
def recalls_blocking(ctx: SyncContext) -> dict[str, Any]:
    """The same without a question."""
    ctx.store.put(["facts"], "tea", {"text": "green tea"})
    ctx.store.put(["facts"], "none", {"text": "green tea"}, index=False)
    return {"found": told(ctx.store.search(["facts"], query="tea"))}


@agent
async def asks_in_vain(ctx: Context) -> dict[str, Any]:
    """Tells why it cannot."""
    said: list[str] = []
    for call in (
        lambda: ctx.store.search(["facts"], query="tea"),
        lambda: ctx.store.put(["facts"], "k", {}, index=["text"]),
    ):
        try:
            await call()
        except Exception as error:
            said.append(f"{type(error).__name__}: {error}")
    return {"said": said}
