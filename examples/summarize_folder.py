"""Summarise a folder of text files by quoting its most telling sentences, each with its file and line.

A sentence tells much when its words are those of its whole file (cosine of TF-IDF vectors), and it adds
little when it resembles one already quoted. The choice weighs the two: maximal marginal relevance, after
Carbonell and Goldstein (1998).
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from runyard import Context, agent

RELEVANCE = 0.7
"""What relevance weighs in the choice; the rest is what repetition costs."""

SENTENCE = re.compile(r"\S.*?(?:[.!?][\"')\]]*(?=\s+[\"'(]?[A-Z]|\s*\Z|\s*\n\s*\n)|(?=\n\s*\n)|\Z)", re.DOTALL)
WORD = re.compile(r"[^\W\d_]{3,}")
STOP_WORDS = frozenset(
    WORD.findall(
        "about after again all also and any are been before being but can could did does each for from had "
        "has have her here him his how into its itself just many may more most much must nor not off once "
        "one only other our out over own same she should some still such than that the their them then "
        "there these they this those through too under until very was were what when where which while who "
        "why will with would yet you your"
    )
)

Vector = dict[str, float]


@dataclass(frozen=True)
class Folder:
    folder: str
    """Relative to the directory that the server was started in, or absolute."""
    sentences: int = 5
    pattern: str = "*.txt"

    def __post_init__(self) -> None:
        if self.sentences < 1:
            raise ValueError(f"sentences is {self.sentences}: must be 1 or more")


class Sentence(TypedDict):
    text: str
    file: str
    line: int


class Summary(TypedDict):
    summary: list[Sentence]


@agent(
    name="Summarise a folder",
    description="Quotes the most telling sentences of a folder of texts.",
    timeout=600,
)
async def summarize(input: Folder, ctx: Context) -> Summary:
    files = await ctx.step("list files", list_files, input.folder, input.pattern)
    sentences: list[Sentence] = []
    for done, file in enumerate(files, start=1):
        sentences += await ctx.step(f"read {file}", read_sentences, input.folder, file)
        await ctx.update({"progress": {"done": done, "total": len(files), "file": file}})
    chosen = choose(sentences, input.sentences)
    async with ctx.message(role="assistant") as message:
        for sentence in chosen:
            await message.write(f"{sentence['text']} [{sentence['file']}:{sentence['line']}]\n\n")
    return {"summary": chosen}


def list_files(folder: str, pattern: str) -> list[str]:
    """The names of the files of a folder that match a glob pattern, sorted.

    Raises ValueError where there are none, naming the folder and the pattern.
    """
    files = sorted(path.relative_to(folder).as_posix() for path in Path(folder).glob(pattern) if path.is_file())
    if not files:
        raise ValueError(f"folder {folder!r} holds no file that matches {pattern!r}")
    return files


def read_sentences(folder: str, file: str) -> list[Sentence]:
    text = (Path(folder) / file).read_text(encoding="utf-8", errors="replace")
    return split_sentences(text, file)


def split_sentences(text: str, file: str) -> list[Sentence]:
    """The sentences of a text with the line each begins on; headings and very short ones are left out."""
    sentences: list[Sentence] = []
    for match in SENTENCE.finditer(text):
        words = match[0].split()
        if len(words) >= 5 and words[-1].rstrip("\"')]").endswith((".", "!", "?")):
            line = text.count("\n", 0, match.start()) + 1
            sentences.append({"text": " ".join(words), "file": file, "line": line})
    return sentences


def choose(sentences: list[Sentence], count: int) -> list[Sentence]:
    """The `count` most telling sentences in the order given; each file is quoted once before any is twice."""
    vectors = weigh([sentence["text"] for sentence in sentences])
    relevance = judge(sentences, vectors)
    repetition = [0.0] * len(sentences)
    quoted = Counter[str]()
    left = list(range(len(sentences)))

    def merit(i: int) -> tuple[int, float]:
        return -quoted[sentences[i]["file"]], RELEVANCE * relevance[i] - (1 - RELEVANCE) * repetition[i]

    while left and quoted.total() < count:
        best = max(left, key=merit)
        left.remove(best)
        quoted[sentences[best]["file"]] += 1
        for i in left:
            repetition[i] = max(repetition[i], cosine(vectors[i], vectors[best]))
    return [sentence for i, sentence in enumerate(sentences) if i not in left]


def judge(sentences: list[Sentence], vectors: list[Vector]) -> list[float]:
    """How well each sentence stands for its file: its likeness to the sum of the file's sentences."""
    files = [sentence["file"] for sentence in sentences]
    centres: dict[str, Vector] = {file: {} for file in files}
    for file, vector in zip(files, vectors, strict=True):
        for word, weight in vector.items():
            centres[file][word] = centres[file].get(word, 0.0) + weight
    return [cosine(vector, centres[file]) for file, vector in zip(files, vectors, strict=True)]


def weigh(texts: list[str]) -> list[Vector]:
    """The TF-IDF vector of each text: a word counts more the rarer it is among all of them."""
    counts = [Counter(w for w in WORD.findall(text.lower()) if w not in STOP_WORDS) for text in texts]
    holding = Counter(word for count in counts for word in count)
    return [{w: n * math.log(1 + len(texts) / holding[w]) for w, n in count.items()} for count in counts]


def cosine(a: Vector, b: Vector) -> float:
    """How alike two vectors are: 0 without a word in common, 1 where the proportions are the same."""
    product = sum(weight * b[word] for word, weight in a.items() if word in b)
    lengths = math.hypot(*a.values()) * math.hypot(*b.values())
    return product / lengths if lengths else 0.0
