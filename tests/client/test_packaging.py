"""What the client tells people to install is there to be installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

CLIENT = Path(__file__).resolve().parents[2] / "client"


def test_each_extra_that_the_code_names_is_declared() -> None:
    declared = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = "\n".join(file.read_text() for file in (CLIENT / "ap_client").rglob("*.py"))
    named = set(re.findall(r"runyard-client\[(\w+)\]", code))
    assert named == {"websocket"}
    assert named <= set(declared)
