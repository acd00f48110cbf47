"""A lead with two sub-agents that work side by side: one looks for sentences that answer a question, one for figures.

Nothing of it needs a model. What it shows is how the work of a team is told: the lead's calls, the tools of each
sub-agent, their messages under namespaces of their own, and the answer as it is written.
"""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypedDict

from runyard import Context, agent

WORD = re.compile(r"[^\W\d_]{4,}")
SENTENCE = re.compile(r"[^.!?]+[.!?]")
NUMBERS = "two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|sixty|hundred|thousand"
FIGURE = re.compile(rf"\b(?:\d[\d.,]*\d|\d|{NUMBERS})\b(?: [a-z]+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Question:
    question: str
    folder: str = "examples/texts"
    """Relative to the directory that the server was started in, or absolute."""
    passages: int = 3


class Passage(TypedDict):
    text: str
    file: str
    score: int


class Report(TypedDict):
    passages: list[Passage]
    figures: list[str]


@agent(name="A research team", description="Answers a question from a folder of texts, with two sub-agents.")
async def research_team(input: Question, ctx: Context) -> Report:
    async with ctx.message() as plan:
        await plan.reason(f"The question is {input.question!r}. I need what the texts say, and what they count. ")
        await plan.write("I will have the texts searched for sentences and for figures.")
        reading = await plan.call("read", {"question": input.question})
        counting = await plan.call("count", {"question": input.question})
    passages, figures = await asyncio.gather(
        ctx.tool("read", partial(read, ctx), input, call_id=reading),
        ctx.tool("count", partial(count, ctx), input, call_id=counting),
    )
    async with ctx.message() as answer:
        for passage in passages:
            await answer.write(f"{passage['text']} [{passage['file']}]\n\n")
        await answer.write(f"Figures: {', '.join(figures)}." if figures else "No figures.")
    return {"passages": passages, "figures": figures}


async def read(ctx: Context, input: Question) -> list[Passage]:
    """The sub-agent that looks for sentences: a tool for each file, then a note of what it found."""
    async with ctx.agent("reader") as reader:
        files = await reader.tool("list_files", list_files, folder=input.folder)
        found: list[Passage] = []
        for file in files:
            found += await reader.tool("search", search, folder=input.folder, file=file, question=input.question)
        best = sorted(found, key=lambda passage: -passage["score"])[: input.passages]
        async with reader.message() as note:
            await note.write(f"{len(found)} sentences in {len(files)} files have to do with it; ")
            await note.write(f"the best {len(best)} are in {', '.join(sorted({p['file'] for p in best})) or 'none'}.")
        return best


async def count(ctx: Context, input: Question) -> list[str]:
    """The sub-agent that looks for figures: its tool tells each as it finds it."""
    async with ctx.agent("counter") as counter:
        text = await counter.tool("figures", figures, folder=input.folder, question=input.question)
        found = list(dict.fromkeys(text.splitlines()))
        async with counter.message() as note:
            await note.write(f"{len(found)} figures.")
        return found


def list_files(folder: str) -> list[str]:
    """Raises ValueError where the folder holds no text."""
    files = sorted(path.name for path in Path(folder).glob("*.txt"))
    if not files:
        raise ValueError(f"folder {folder!r} holds no text")
    return files


def search(folder: str, file: str, question: str) -> list[Passage]:
    """The sentences of a file that share words with the question; the score says how many."""
    wanted = words(question)
    sentences = [" ".join(match[0].split()) for match in SENTENCE.finditer((Path(folder) / file).read_text())]
    scores = [(sentence, len(wanted & words(sentence))) for sentence in sentences]
    return [{"text": sentence, "file": file, "score": score} for sentence, score in scores if score]


def figures(folder: str, question: str) -> Iterator[str]:
    """The figures in sentences that share words with the question, one in a line."""
    for file in list_files(folder):
        for passage in search(folder, file, question):
            for match in FIGURE.finditer(passage["text"]):
                yield f"{match[0].lower()}\n"


def words(text: str) -> set[str]:
    """The longer words of a text, plurals as singulars."""
    return {word.lower().removesuffix("s") for word in WORD.findall(text)}
