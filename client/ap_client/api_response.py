"""An answer with its status code and headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ApiResponse(Generic[T]):
    """What the `..._with_http_info` methods return: `data` is what the plain method would return."""

    status_code: int
    headers: Mapping[str, str] | None
    data: T
    raw_data: bytes
