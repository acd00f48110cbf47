"""`python -m bench.observed`: what it costs to be observed.

Three servers run the same load in interleaved rounds: one as it is by default (metrics are counted, traces are off),
one that is asked for its metrics ten times a second, and one that traces every request and run to a collector.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
BODY = json.dumps({"agent_id": "noop", "input": {"question": "what does this cost?", "n": 1}})
SCRAPES_PER_SECOND = 10
NAMES = {"plain": "traces off", "scraped": f"/metrics {SCRAPES_PER_SECOND} times a second", "traced": "traces on"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.observed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each load of a round lasts")
    parser.add_argument("--concurrency", type=int, default=128)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")
    options = parser.parse_args()
    rows = measure(options.rounds, options.seconds, options.concurrency)
    if options.json:
        print(json.dumps(rows))
        return 0
    print("| `POST /runs/wait`, no-op agent | runs/s | of plain | CPU us a run | of plain |\n|---|--:|--:|--:|--:|")
    for row in rows:
        print(
            f"| {NAMES[str(row['what'])]} | {row['per_second']:,.0f} | {row['of_plain']:.2f} | {row['cpu_us']:.0f} "
            f"| {row['cpu_of_plain']:.2f} |"
        )
    return 0


def measure(rounds: int, seconds: float, concurrency: int) -> list[dict[str, float | str]]:
    """Medians over the rounds; ratios are medians of each round's ratio. CPU is that of the server's process."""
    speeds: dict[str, list[float]] = {name: [] for name in NAMES}
    costs: dict[str, list[float]] = {name: [] for name in NAMES}
    with ExitStack() as stack:
        traced = {"RUNYARD_TRACES": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(_collector())}
        servers = {name: stack.enter_context(_server(traced if name == "traced" else {})) for name in NAMES}
        for number in range(rounds + 1):
            for name, (port, process) in servers.items():
                before = _cpu_seconds(process)
                per_second = _loaded(port, concurrency, seconds, scraped=name == "scraped")
                if number:  # the first round warms up
                    speeds[name].append(per_second)
                    costs[name].append((_cpu_seconds(process) - before) / (per_second * seconds) * 1e6)
    return [
        {
            "what": name,
            "per_second": statistics.median(speeds[name]),
            "of_plain": _ratio(speeds[name], speeds["plain"]),
            "cpu_us": statistics.median(costs[name]),
            "cpu_of_plain": _ratio(costs[name], costs["plain"]),
        }
        for name in NAMES
    ]


def _ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _loaded(port: int, concurrency: int, seconds: float, *, scraped: bool) -> float:
    """Runs per second."""
    over = threading.Event()

    def scrape() -> None:
        while not over.wait(1 / SCRAPES_PER_SECOND):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                answer.read()

    scraper = threading.Thread(target=scrape)
    if scraped:
        scraper.start()
    command = [sys.executable, str(HERE / "load.py"), str(port), "/runs/wait", BODY, str(concurrency), str(seconds)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + seconds, check=True)
    finally:
        over.set()
        if scraped:
            scraper.join()
    return json.loads(done.stdout)["per_second"]


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(env: dict[str, str]) -> Generator[tuple[int, int]]:
    """A server's port and process id."""
    with socket.socket() as probe, tempfile.TemporaryDirectory(prefix="runyard-bench-") as folder:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "runyard", "serve", str(HERE / "agents.py"), "--port", str(port)]
        command += ["--database", f"sqlite:///{folder}/runyard.db"]
        process = subprocess.Popen(command, env={**os.environ, **env}, stderr=subprocess.DEVNULL, cwd=HERE.parent)
        try:
            deadline = time.monotonic() + 20
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("the server did not start")
                time.sleep(0.02)
            yield port, process.pid
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def _collector() -> Generator[str]:
    """Where spans go: takes everything and does nothing with it, in a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "bench.observed", "--collect", str(port)], cwd=HERE.parent)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class _Taken(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    if sys.argv[1:2] == ["--collect"]:
        ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), _Taken).serve_forever()
    raise SystemExit(main())
