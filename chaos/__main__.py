"""`python -m chaos`: what the tests prove in seconds, for as long as it takes to believe it.

kill      a server killed every few seconds under load, judged by its clients' own journal
points    a fault or a power cut at a seeded place in the writing of the file, thousands of times
full      a disk that fills up and is freed
poison    a run that ends the server each time it is executed
overload  slow readers beside fast ones, idle ones, and thousands that come back at once
soak      a steady load; memory and latency, and how they grow

and on servers and workers of one PostgreSQL, which the parts start:

cluster-kill     one of them killed every second under load
cluster-stop     workers that stand still for longer than their lease, and wake
cluster-restart  the database crashes and is started again; throughput comes back
cluster-cut      hints that do not come, cut connections, networks that swallow everything, a database far away
cluster-cancel   a thousand runs cancelled at random moments, from another server
cluster-roll     all restarted in order, while no request fails
cluster-mix      all of that at once, by chance
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from chaos import full, kill, overload, points, poison, soak
from chaos.cluster import cancel, cut, mix, restart, roll, stop
from chaos.cluster import kill as kill_members
from chaos.report import Broken, Progress, Rows, on_terminal, silent, table

EPILOG = """examples:
  python -m chaos                              everything: about 35 minutes
  python -m chaos kill --minutes 1 --seed 7    a minute of kills, again as they were
  python -m chaos points --points 500          the first 500 crash points
"""
PARTS = ("kill", "points", "full", "poison", "overload", "soak")
CLUSTER = ("kill", "stop", "restart", "cut", "cancel", "roll", "mix")
ALL = (*PARTS, *(f"cluster-{part}" for part in CLUSTER))
CLUSTER_S = 60.0
RESTARTS = 6
ROUNDS = 3
RACES = 1000


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m chaos", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(ALL)}; all where none is named")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long kill and soak go on")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two kills")
    parser.add_argument("--points", type=int, default=2500, help="how many crash points")
    parser.add_argument("--seed", type=int, default=1, help="of all but soak; the first of the points")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in ALL]
    if unknown:
        parser.error(f"{unknown[0]!r} is no part; there are {', '.join(ALL)}")
    progress: Progress = on_terminal if sys.stderr.isatty() else silent
    seconds = options.minutes * 60
    seed = options.seed
    runs: dict[str, Callable[[], Rows]] = {
        "kill": lambda: kill.run(seed=options.seed, seconds=seconds, interval=options.every, progress=progress),
        "points": lambda: points.run(seed=options.seed, points=options.points, progress=progress),
        "full": lambda: full.run(mount=True, progress=progress),
        "poison": lambda: poison.run(progress=progress),
        "overload": lambda: overload.run(seed=options.seed, progress=progress),
        "soak": lambda: soak.run(seconds=seconds, progress=progress),
        "cluster-kill": lambda: kill_members.run(seed=seed, seconds=CLUSTER_S, progress=progress),
        "cluster-stop": lambda: stop.run(seed=seed, seconds=CLUSTER_S, progress=progress),
        "cluster-restart": lambda: restart.run(seed=seed, restarts=RESTARTS, progress=progress),
        "cluster-cut": lambda: cut.run(seed=seed, rounds=ROUNDS, progress=progress),
        "cluster-cancel": lambda: cancel.run(seed=seed, races=RACES, progress=progress),
        "cluster-roll": lambda: roll.run(seed=seed, rounds=ROUNDS, progress=progress),
        "cluster-mix": lambda: mix.run(seed=seed, seconds=CLUSTER_S, progress=progress),
    }
    broken = 0
    for part in options.parts or ALL:
        try:
            rows = runs[part]()
        except Broken as error:
            broken += 1
            progress("")
            print(f"BROKEN {error}", file=sys.stderr)
        else:
            progress("")
            print(table(part, rows), end="\n\n", flush=True)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
