"""`python -m bench.graphs`: graphs that are served and durable, beside the same graphs called directly."""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.graphs.agents import EVENTS, STEPS, TOKENS
from bench.servers import Server, run, runyard

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
LOADS = (("one", 1), ("one", 16), ("one", 64), ("forty", 1))
"""Graph and concurrency."""
SAVERS = ("none", "memory", "sqlite")
TARGETS = {1: ">= 0.4 of memory", 16: ">= 0.6 of memory", 64: ">= 0.6 of memory"}
FIRST_EVENTS = 40
Progress = Callable[[str], None]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.graphs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are taken over them")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each load of a round lasts")
    parser.add_argument("--turns", type=int, default=1000, help="of the long conversation")
    parser.add_argument("--processes", type=int, nargs="+", default=[0], help="of agents: a server for each, in turn")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    options = parser.parse_args()
    quiet = options.json or not sys.stderr.isatty()
    progress: Progress = (
        (lambda text: None) if quiet else (lambda text: print(f"\r{text:<70}", end="", file=sys.stderr))
    )
    with tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        report = measure(Path(folder), options.rounds, options.seconds, options.turns, options.processes, progress)
    if not quiet:
        print(f"\r{'':<70}\r", end="", file=sys.stderr)
    print(json.dumps(report) if options.json else "\n".join(_tables(report)))
    return 0


def measure(
    folder: Path, rounds: int, seconds: float, turns: int, processes: Sequence[int], progress: Progress
) -> dict[str, Any]:
    """Everything, on servers of its own in `folder`; what is no table of loads on the first of them."""
    with ExitStack() as running:
        servers: dict[int, Server] = {}
        for count in processes:
            (own := folder / str(count)).mkdir()
            servers[count] = running.enter_context(runyard(own, "--processes", str(count), agents=HERE / "agents.py"))
        server = servers[processes[0]]
        rows = [row for load in LOADS for row in _rows(*load, servers, rounds, seconds, progress)]
        progress("events and tokens")
        events = [_stream(server, "pour", "custom", {"n": 0}) for _ in range(rounds)]
        tokens = [_stream(server, "babble", "messages", {"messages": [{"role": "user", "content": "go"}]})
                  for _ in range(rounds)]  # fmt: skip
        first = sorted(_stream(server, "one", "values", {"n": 1})["first_ms"] for _ in range(FIRST_EVENTS))
    progress(f"a conversation of {turns} turns")
    return {
        "rows": rows,
        "events_per_second": statistics.median(told["per_second"] for told in events),
        "tokens_per_second": statistics.median(told["per_second"] for told in tokens),
        "bytes_per_token": statistics.median(told["bytes_per_event"] for told in tokens),
        "first_event_p50_ms": first[len(first) // 2],
        "first_event_p99_ms": first[-1],
        "turns": turns,
        "conversation": _module("bench.graphs.conversation", turns),
    }


def _rows(
    name: str, concurrency: int, servers: dict[int, Server], rounds: int, seconds: float, progress: Progress
) -> list[dict[str, Any]]:
    """One graph under one load: served by each server, and called directly with each saver, in turn."""
    body = json.dumps({"agent_id": name, "input": {"n": 1}, "config": {"recursion_limit": 99}})
    direct: dict[str, list[dict[str, float]]] = {saver: [] for saver in SAVERS}
    served: dict[int, list[dict[str, float]]] = {processes: [] for processes in servers}
    for number in range(rounds):
        progress(f"{name} at {concurrency}, round {number + 1} of {rounds}")
        for saver in SAVERS:
            direct[saver].append(_module("bench.graphs.direct", name, saver, concurrency, seconds))
        for processes, server in servers.items():
            told = run("load.py", server.port, "/runs/wait", body, concurrency, seconds, seconds=seconds)
            served[processes].append(told)
    return [
        {
            "graph": name,
            "concurrency": concurrency,
            "processes": processes,
            **{figure: statistics.median(one[figure] for one in seen) for figure in seen[0]},
            "of": {saver: _ratio(seen, direct[saver]) for saver in SAVERS},
        }
        for processes, seen in served.items()
    ]


def _ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> float:
    """The median over the rounds."""
    return statistics.median(one["per_second"] / other["per_second"] for one, other in zip(ours, theirs, strict=True))


def _module(name: str, *arguments: object) -> Any:
    command = [sys.executable, "-W", "ignore", "-m", name, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{name} {arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def _stream(server: Server, agent: str, mode: str, input: Any) -> dict[str, float]:
    """One run to one reader, from the request on."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = json.dumps({"agent_id": agent, "input": input, "stream_mode": mode})
    begun = time.perf_counter()
    connection.request("POST", "/runs/stream", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    wanted = f"event: {mode}\n".encode()
    first, count, size = 0.0, 0, 0
    while line := answer.readline():
        size += len(line)
        if line == wanted:
            first = first or time.perf_counter() - begun
            count += 1
    took = time.perf_counter() - begun - first
    connection.close()
    return {"per_second": count / took, "bytes_per_event": size / count, "first_ms": first * 1e3}


def _tables(report: dict[str, Any]) -> list[str]:
    lines = [
        "| graph | concurrency | processes | served/s | p50 ms | p99 ms | of no saver | of memory | of SQLite saver "
        "| target |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    names = {"one": "one node", "forty": f"{STEPS} steps"}
    for row in report["rows"]:
        of, target = row["of"], TARGETS[row["concurrency"]] if row["graph"] == "one" else ""
        lines.append(
            f"| {names[row['graph']]} | {row['concurrency']} | {row['processes']} | {row['per_second']:,.0f} "
            f"| {row['p50_ms']:.1f} | {row['p99_ms']:.1f} "
            f"| {of['none']:.2f} | {of['memory']:.2f} | {of['sqlite']:.2f} | {target} |"
        )
    conversation, turns = report["conversation"], report["turns"]
    ours, theirs = conversation["ours"], conversation["theirs"]
    constant = (ours["kept_bytes"] - 3 * ours["state_bytes"]) / turns
    first, last = report["first_event_p50_ms"], report["first_event_p99_ms"]
    tokens, size = report["tokens_per_second"], report["bytes_per_token"]
    facts = {
        "create -> first event": f"p50 {first:.1f} ms, p99 {last:.1f} ms",
        f"{EVENTS:,} custom events of one run": f"{report['events_per_second']:,.0f}/s",
        f"a model's {TOKENS:,} tokens": f"{tokens:,.0f}/s, {size:.0f} bytes each",
        f"thread of {turns:,} turns, bytes kept": f"{ours['kept_bytes']:,.0f}: 3 x its state "
        f"({ours['state_bytes']:,.0f}) + {constant:,.0f} a turn; LangGraph's SQLite saver {theirs['kept_bytes']:,.0f}",
        "its 10th and its last turn": f"{ours['first_ms']:.1f} ms, {ours['last_ms']:.1f} ms; LangGraph's "
        f"{theirs['first_ms']:.1f} ms, {theirs['last_ms']:.1f} ms",
        "reading its head": f"{ours['read_ms'] / ours['decode_ms']:.2f} of decoding one snapshot "
        f"({ours['decode_ms']:.1f} ms); LangGraph's {theirs['read_ms']:.1f} ms",
    }
    return [*lines, "", "| what | measured |", "|---|---|", *(f"| {what} | {told} |" for what, told in facts.items())]


if __name__ == "__main__":
    raise SystemExit(main())
