"""A plugin of pytest: the SDK's tests of `RemoteGraph` go where the others do."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        module = getattr(item, "module", None)
        if hasattr(module, "URL"):
            module.URL = os.environ["LANGGRAPH_INTEGRATION_URL"]  # pyright: ignore[reportOptionalMemberAccess]
