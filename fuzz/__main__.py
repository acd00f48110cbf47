"""`python -m fuzz`: bad, odd and broken requests against a real server, which has to answer each as documented; and
broken and forged rows of graphs, which have to be refused and execute nothing."""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from fuzz.drive import Driver, Report
from fuzz.server import ROOT, ServerProcess

KINDS = ("schemathesis", "grammar", "rows")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m fuzz",
        description=__doc__,
        epilog="example: python -m fuzz --only grammar --seed 7 --requests 5000",
    )
    parser.add_argument("--only", choices=KINDS, help="one of the fuzzers instead of all")
    parser.add_argument("--seed", type=int, help="what a failure printed, to repeat it; else a new one")
    parser.add_argument("--requests", type=int, default=50_000, help="how many requests the grammar fuzzer sends")
    parser.add_argument("--rows", type=int, default=100_000, help="how many rows of graphs are broken and read")
    parser.add_argument("--connections", type=int, default=16, help="over how many connections (1: in a fixed order)")
    parser.add_argument("--examples", type=int, default=40, help="how many examples Schemathesis makes per operation")
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful", help="which phases Schemathesis runs")
    options = parser.parse_args()
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    again = f"python -m fuzz --seed {seed} --requests {options.requests} --connections {options.connections}"
    again += f" --examples {options.examples} --phases {options.phases} --rows {options.rows}"
    good = True
    for kind in KINDS if options.only is None else (options.only,):
        if kind == "rows":
            passed = rows(seed, options.rows)
        else:
            with tempfile.TemporaryDirectory(prefix="runyard-fuzz-") as folder, ServerProcess(Path(folder)) as server:
                if kind == "grammar":
                    passed = grammar(server, seed, options.requests, options.connections)
                else:
                    passed = schemathesis(server, Path(folder), seed, options.examples, options.phases)
        if not passed:
            print(f"\nto repeat this: {again} --only {kind}")
        good = good and passed
    return 0 if good else 1


def grammar(server: ServerProcess, seed: int, requests: int, connections: int) -> bool:
    """The grammar fuzzer; whether nothing was found."""
    print(f"grammar: {requests} requests over {connections} connections, seed {seed}", flush=True)

    def progress(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text:<78}", end="", file=sys.stderr, flush=True)

    async def drive() -> Report:
        return await Driver(server, seed, progress).drive(requests, connections)

    report = asyncio.run(drive())
    progress("\r")
    print_table(report)
    for failure in report.failures:
        print(f"\nFAILURE: {failure}")
    return not report.failures


def rows(seed: int, count: int) -> bool:
    """Broken and forged rows; whether nothing was found."""
    # It imports LangGraph, and its hook watches this process to its end.
    from fuzz.rows import drive

    print(f"rows: {count} broken and forged rows, seed {seed}", flush=True)
    findings = drive(seed, count)
    for outcome, number in sorted(findings.outcomes.items()):
        print(f"  {outcome:<30} {number}")
    print(f"  {findings.rows} rows in {findings.seconds:.1f} s, {len(findings.failures)} failures", flush=True)
    for failure in findings.failures:
        print(f"\nFAILURE: {failure}")
    return not findings.failures


def print_table(report: Report) -> None:
    by_operation: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (name, status), count in report.statuses.items():
        by_operation[name][status] = count
    for name in sorted(by_operation):
        told = "  ".join(f"{status}: {count}" for status, count in sorted(by_operation[name].items()))
        print(f"  {name:<30} {told}")
    print(f"  {report.requests} requests in {report.seconds:.1f} s, {len(report.failures)} failures", flush=True)


def schemathesis(server: ServerProcess, folder: Path, seed: int, examples: int, phases: str) -> bool:
    """Schemathesis with all checks over the served document; whether it found nothing."""
    print(f"schemathesis: {examples} examples per operation, seed {seed}", flush=True)
    command = [str(Path(sys.executable).with_name("st")), "--config-file", str(ROOT / "fuzz" / "schemathesis.toml")]
    command += ["run", f"{server.url}/openapi.json", "--checks", "all", "--max-examples", str(examples)]
    command += ["--phases", phases]
    command += ["--seed", str(seed), "--workers", "2", "--request-timeout", "10", "--no-color"]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": str(ROOT / "fuzz" / "hooks.py")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode or server.errors():
        print(done.stdout, done.stderr, *server.errors(), sep="\n")
        return False
    print("\n".join(line for line in done.stdout.splitlines() if "generated" in line or "passed" in line), flush=True)
    return True


if __name__ == "__main__":
    raise SystemExit(main())
