"""Every link between the pages leads somewhere, and every page can be reached from the README."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTING = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
PAGES = LISTING.stdout.split()
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as they are in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: str) -> list[tuple[Path, str]]:
    """Where a page leads to inside the project: files, each with an anchor or nothing."""
    found = (link.partition("#") for link in LINK.findall((ROOT / page).read_text()) if "://" not in link)
    here = ROOT / page
    return [((here.parent / path).resolve() if path else here, anchor) for path, _, anchor in found]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target, anchor in links(page):
        assert target.exists(), f"{page} links to {target}, which is not there"
        assert not anchor or anchor in anchors(target), (
            f"{page} links to #{anchor} of {target.name}, which is not there"
        )


def test_every_page_is_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for target, _ in links(str(page.relative_to(ROOT))):
            waiting += sorted(target.rglob("*.md")) if target.is_dir() else [target] if target.suffix == ".md" else []
    assert {page for page in PAGES if page.startswith("docs/") and ROOT / page not in seen} == set()
