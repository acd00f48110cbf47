"""Vectors: what texts mean, as numbers. Data and pure rules."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence

Vector = bytes
"""A vector of the length 1 (or of zeros), as 32-bit floats, little-endian."""

MAX_DIMS = 16_000
"""Numbers in a vector: what pgvector takes."""


def unit_vector(numbers: Sequence[float], dims: int) -> Vector:
    """The vector of the length 1 in the direction of numbers; zeros stay zeros.

    Raises:
        ValueError: there are not so many, or one of them is none, or not finite.
    """
    if len(numbers) != dims:
        raise ValueError(f"a vector has {len(numbers)} numbers, not {dims}")
    floats = array("d", numbers)
    length = math.hypot(*floats)
    if not math.isfinite(length):
        raise ValueError("a vector holds a number that is not finite, or too large")
    return packed([number / length for number in floats] if length else floats)


def packed(numbers: Sequence[float]) -> Vector:
    """Numbers as they are kept."""
    floats = array("f", numbers)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def unpacked(vectors: bytes) -> list[float]:
    """The numbers of a vector, or of several that stand behind one another."""
    floats = array("f", vectors)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()
