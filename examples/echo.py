"""The smallest agent there is: it answers with its input, so that a first call shows the whole journey."""

from typing import Any

from runyard import agent


@agent(name="Echo", description="Answers with the input it was given.")
async def echo(input: Any) -> dict[str, Any]:
    return {"echo": input}
