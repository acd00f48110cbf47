"""Ask a code base: the functions, classes and modules that answer a question best, with file and line.

The ranking is BM25 (Robertson and Zaragoza, 2009) over identifiers split into words. The thread remembers
what the last answer was about, so that a follow-up such as "and who calls it?" is understood.
"""

import ast
import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from runyard import Context, agent

OWN_SOURCE = str(Path(__file__).resolve().parent.parent / "src")
SATURATION, LENGTH_PENALTY = 1.5, 0.75
"""The k1 and b of BM25: how soon repetition stops to count, and how much a long passage is marked down."""
NAME_WEIGHT, DOC_WEIGHT = 6, 2
"""How often the words of a name and of a docstring count: they say what a passage is for, its body how."""

WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
STOP_WORDS = frozenset(
    WORD.findall(
        "a an and are by can class def do does find for from function how i if in is it me of or return self "
        "show that the they this to what when where which who with"
    )
)
CALLERS = re.compile(r"\b(?:calls?|uses?|callers of|users of)\s+(?:the\s+)?`?([A-Za-z_][\w.]*)", re.IGNORECASE)
PRONOUNS = frozenset({"it", "that", "this"})

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Question:
    question: str | None = None
    """Where it is absent, the last message of the thread is the question."""
    folder: str = OWN_SOURCE
    passages: int = 3


class Hit(TypedDict):
    name: str
    file: str
    line: int
    signature: str
    doc: str


class Answer(TypedDict):
    passages: list[Hit]
    subject: str | None


@dataclass(frozen=True)
class Passage:
    hit: Hit
    words: Counter[str]
    calls: frozenset[str]


@agent(name="Ask a code base", description="Finds the passages of a Python code base that answer a question.")
async def ask_code(input: Question, messages: list[dict[str, Any]], ctx: Context) -> Answer:
    question = input.question or last_text(messages)
    if not question:
        raise ValueError("no question: give input.question, or a message with text")
    subject: str | None = ctx.state.get("subject")
    # A step, so that a later attempt gives the same answer although the code has changed meanwhile.
    hits = await ctx.step("search", search_folder, input.folder, question, subject, input.passages)
    async with ctx.message(role="assistant") as message:
        for hit in hits:
            await message.write(f"{hit['file']}:{hit['line']}\n    {hit['signature']}\n    {hit['doc']}\n\n")
        if not hits:
            await message.write(f"Nothing in {input.folder} answers that.")
    return {"passages": hits, "subject": hits[0]["name"] if hits else subject}


def last_text(messages: list[dict[str, Any]]) -> str:
    """The text of the last message; its content is a string or a list of parts."""
    content = messages[-1].get("content", "") if messages else ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("type") == "text")


async def search_folder(folder: str, question: str, subject: str | None, count: int) -> list[Hit]:
    # Parsing takes a while; in a thread it holds up no other agent on this event loop.
    return await asyncio.to_thread(lambda: answer(list(read_folder(folder)), question, subject, count))


def answer(passages: list[Passage], question: str, subject: str | None, count: int) -> list[Hit]:
    """The best `count` passages: the callers of a name where the question asks for those, else by likeness.

    `subject` is the name that the last answer was about, and what "it" means.
    """
    asked = CALLERS.search(question)
    if asked:
        callee = subject if asked[1].lower() in PRONOUNS and subject else asked[1]
        last_part = callee.split(".")[-1]
        if any(passage.hit["name"].split(".")[-1] == last_part for passage in passages):
            return [passage.hit for passage in passages if last_part in passage.calls][:count]
    if subject and PRONOUNS & set(question.lower().split()):
        question = f"{question} {subject}"
    return rank(passages, question)[:count]


def rank(passages: list[Passage], question: str) -> list[Hit]:
    """All passages that share a word with the question, best first."""
    usual_length = sum(passage.words.total() for passage in passages) / max(1, len(passages))
    scores = [0.0] * len(passages)
    for word in set(words(question)):
        holding = [i for i, passage in enumerate(passages) if word in passage.words]
        rarity = math.log(1 + (len(passages) - len(holding) + 0.5) / (len(holding) + 0.5))
        for i in holding:
            often, length = passages[i].words[word], passages[i].words.total() / usual_length
            damping = SATURATION * (1 - LENGTH_PENALTY + LENGTH_PENALTY * length)
            scores[i] += rarity * often * (SATURATION + 1) / (often + damping)
    best = sorted(range(len(passages)), key=lambda i: -scores[i])
    return [passages[i].hit for i in best if scores[i] > 0]


def words(text: str) -> list[str]:
    """The words of a text or an identifier, plurals as singulars: `HTTPServer.runs` is http, server, run."""
    found = (word.lower() for word in WORD.findall(text))
    return [word.removesuffix("s") if len(word) > 3 else word for word in found if word not in STOP_WORDS]


def read_folder(folder: str) -> Iterator[Passage]:
    """Raises ValueError where the folder holds no Python file."""
    root = Path(folder)
    files = sorted(
        path for path in root.rglob("*.py") if not any(p.startswith(".") for p in path.relative_to(root).parts)
    )
    if not files:
        raise ValueError(f"folder {folder!r} holds no Python file")
    for path in files:
        try:
            yield from split_code(path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
        except (SyntaxError, UnicodeDecodeError):
            continue  # Templates and test data of other Python versions are no reason to answer nothing.


def split_code(source: str, file: str) -> Iterator[Passage]:
    """The passages of a file: its module, its classes and their methods, its functions.

    A passage holds what is its own: a class is searched without its methods, a module without either.
    """
    lines = source.splitlines()

    def split(node: ast.Module | Definition, name: str, line: int, signature: str) -> Iterator[Passage]:
        whole = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        inner = [] if whole else [child for child in node.body if isinstance(child, Definition)]
        own = [child for child in node.body if child not in inner]
        doc = ast.get_docstring(node) or ""
        text = "\n".join("\n".join(lines[child.lineno - 1 : child.end_lineno]) for child in own)
        counts = Counter(words(name) * NAME_WEIGHT + words(doc) * DOC_WEIGHT + words(f"{signature} {text}"))
        hit: Hit = {
            "name": name,
            "file": file,
            "line": line,
            "signature": signature,
            "doc": doc.partition("\n")[0],
        }
        yield Passage(hit, counts, frozenset(called(own)))
        prefix = f"{name}." if isinstance(node, ast.ClassDef) else ""
        for child in inner:
            yield from split(child, prefix + child.name, child.lineno, head(child))

    module = file.removesuffix(".py").replace("/", ".")
    yield from split(ast.parse(source), module, 1, f"module {module}")


def head(node: Definition) -> str:
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {node.name}({bases})" if bases else f"class {node.name}"
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{keyword} {node.name}({ast.unparse(node.args)}){returns}"


def called(statements: list[ast.stmt]) -> Iterator[str]:
    """The last part of every name that the statements call."""
    for statement in statements:
        for node in ast.walk(statement):
            match node:
                case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                    yield name
                case _:
                    pass
