"""Plain functions as agents: one that returns, and one that yields a step at a time."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from runyard import agent


@dataclass(frozen=True)
class Text:
    text: str
    top: int = 5


@agent(name="Word count", description="Counts the words of a text and names the most frequent ones.")
def word_count(input: Text) -> dict[str, object]:
    words = [word.strip(".,;:!?\"'()").lower() for word in input.text.split()]
    counts = Counter(word for word in words if word)
    return {
        "words": counts.total(),
        "different": len(counts),
        "most_frequent": dict(counts.most_common(input.top)),
    }


@dataclass(frozen=True)
class Launch:
    start: int = 5
    seconds: float = 0.2
    """How long each number is shown."""


@agent(name="Countdown", description="Counts down to zero; each number is a step of its own.")
def countdown(input: Launch) -> Iterator[dict[str, int]]:
    for number in range(input.start, -1, -1):
        yield {"count": number}
        time.sleep(input.seconds)
