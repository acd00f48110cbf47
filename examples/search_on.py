"""A search that listens while it goes on: each message is one more word to look for, and `stop` ends it.

Start it on a thread, and tell it more with the command `input.inject`, or from Python with `ThreadStream.inject`.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from runyard import Context, Inbox, agent

WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Search:
    words: list[str]
    folder: str = "examples/texts"
    """Relative to the directory that the server was started in, or absolute."""
    seconds_per_file: float = 0.0
    """The least time a file takes, so that a person can say something meanwhile."""


class Found(TypedDict):
    counts: dict[str, int]
    files: int
    stopped: bool


@agent(name="A search that listens", description="Counts words in a folder of texts; takes more words as it goes.")
async def search_on(input: Search, ctx: Context, inbox: Inbox) -> Found:
    words = [word.lower() for word in input.words]
    counts: Counter[str] = Counter()
    files = await ctx.step("list files", list_files, input.folder)
    for done, file in enumerate(files):
        for message in await inbox.waiting():
            if message["content"] == "stop":
                return {"counts": dict(counts), "files": done, "stopped": True}
            words.append(message["content"].lower())
        counts.update(await ctx.step("count", count, input.folder, file, words, input.seconds_per_file))
        await ctx.emit({"file": file, "counts": counts}, name="progress")
    return {"counts": dict(counts), "files": len(files), "stopped": False}


def list_files(folder: str) -> list[str]:
    """Raises ValueError where the folder holds no text."""
    files = sorted(path.name for path in Path(folder).glob("*.txt"))
    if not files:
        raise ValueError(f"folder {folder!r} holds no text")
    return files


async def count(folder: str, file: str, words: list[str], seconds: float) -> dict[str, int]:
    """How often each of the words is in the file."""
    await asyncio.sleep(seconds)
    text = await asyncio.to_thread((Path(folder) / file).read_text)
    found = Counter(word.lower() for word in WORD.findall(text))
    return {word: found[word] for word in words}
