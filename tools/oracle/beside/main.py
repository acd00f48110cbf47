"""`make oracle ARGS=beside`: sends the same requests to a server of ours and to the vendor's development server, and
prints where the answers differ in what a client would notice. Those that are meant to are listed in `expected.py`, each
with its reason; any other makes it fail.

The vendor's server comes from PyPI, into an environment of its own below `.venv/peers`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from bench.peers import servers
from bench.servers import Server
from tools.oracle.beside import expected
from tools.oracle.beside.compare import Difference, differences
from tools.oracle.beside.groups import GROUPS
from tools.oracle.beside.talk import Answer, Talk

GRAPHS = Path(__file__).parent / "graphs"
Script = Callable[[Talk], None]


def main(arguments: list[str]) -> int:
    """Runs the groups; 0 where nothing differs that is not expected."""
    parser = argparse.ArgumentParser(prog="make oracle ARGS=beside", description=__doc__)
    parser.add_argument("groups", nargs="*", help=f"some of: {', '.join(GROUPS)}")
    parser.add_argument("--step", default="", help="prints both whole answers of the steps that begin so")
    parser.add_argument("--all", action="store_true", help="prints the expected differences, too")
    asked = parser.parse_args(arguments)
    unknown = set(asked.groups) - set(GROUPS)
    if unknown:
        parser.error(f"unknown groups: {', '.join(sorted(unknown))}")
    found = 0
    with both() as pair:
        for name in asked.groups or GROUPS:
            answered = _answered(GROUPS[name], pair)
            if asked.step:
                _show(answered, asked.step)
            found += _report(name, list(_compared(name, answered)), asked.all)
    print(f"{found} differences are not expected" if found else "nothing differs but what is meant to")
    return 1 if found else 0


@contextmanager
def both() -> Generator[tuple[Server, Server]]:
    """Ours and the vendor's, each with a copy of the graphs."""
    programs = servers.installed("langgraph", "langgraph-cli[inmem]")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "runyard"), Path(folder, "vendor")
        with servers.runyard(ours, GRAPHS) as one, servers.vendor(theirs, programs, GRAPHS) as other:
            yield one, other
        shutil.rmtree(folder, ignore_errors=True)


def _answered(script: Script, pair: tuple[Server, Server]) -> tuple[dict[str, Answer], dict[str, Answer]]:
    """What the two say to one script, which is run against both at once."""

    def one(server: Server) -> dict[str, Answer]:
        talk = Talk(f"http://127.0.0.1:{server.port}")
        try:
            script(talk)
        except (KeyError, TypeError, IndexError, AttributeError) as problem:
            # An answer had not what the next request needs: the steps up to here show why.
            print(f"the script stopped at port {server.port}: {problem!r}", file=sys.stderr)
        finally:
            talk.close()
        return talk.answers

    with ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(one, pair)
    return ours, theirs


def _compared(group: str, answered: tuple[dict[str, Answer], dict[str, Answer]]) -> list[Difference]:
    ours, theirs = answered
    told: list[Difference] = []
    for step in dict.fromkeys([*ours, *theirs]):
        if step not in ours or step not in theirs:
            told.append(Difference(f"{group}/{step}", "step", str(step in ours), str(step in theirs)))
        else:
            told += differences(f"{group}/{step}", ours[step], theirs[step])
    return told


def _report(group: str, told: list[Difference], everything: bool) -> int:
    """Prints what is not expected; how much that is."""
    print(f"== {group}")
    surprising = 0
    for one in told:
        reason = expected.reason(one)
        surprising += reason is None
        if reason is None or everything:
            print(f"{one.step}  {one.place}{'' if reason is None else f'  (expected: {reason})'}")
            print(f"    ours    {one.ours}\n    theirs  {one.theirs}")
    return surprising


def _show(answered: tuple[dict[str, Answer], dict[str, Answer]], start: str) -> None:
    for side, answers in zip(("ours", "theirs"), answered, strict=True):
        for step, answer in answers.items():
            if step.startswith(start):
                print(f"{side} {step}: {answer.status} {answer.headers}\n    {answer.body}")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
