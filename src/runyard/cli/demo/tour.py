"""The tour: a server, the scenes one after the other, and what was proven in the end."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from ap_client import ApiException

from runyard.cli.connection import Failed, explain
from runyard.cli.demo import scenes
from runyard.cli.demo.child import ChildServer
from runyard.cli.demo.screen import Screen

SCENES = (
    ("A streamed run", scenes.streamed_run),
    ("Ten background runs at once", scenes.ten_at_once),
    ("A person is asked", scenes.human_approval),
    ("A cancel that takes everything back", scenes.rollback),
    ("A server killed in the middle of a run", scenes.killed_server),
)

CURL = """\
curl -s {url}/agents/search {json} -d '{{}}'
curl -sN {url}/runs/stream {json} -d '{{"agent_id": "countdown", "stream_mode": "updates"}}'
curl -s {url}/runs/wait {json} -d '{{"agent_id": "word_count", "input": {{"text": "to be or not to be"}}}}'"""


def give_tour(examples: Path, keep: bool) -> None:
    """Play all scenes against a server of its own. With `keep` the server stays up.

    Raises Failed where a claim does not hold or the server does not do its part; what it wrote stays then.
    """
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="runyard-demo-"))
    server = ChildServer(folder, (str(examples),))
    screen = Screen()
    stage = scenes.Stage(server, examples, screen)
    finished = False
    try:
        seconds = server.start()
        screen.say(f"A server with the example agents is up at {server.url} after {seconds:.1f} s.")
        for number, (title, play) in enumerate(SCENES, start=1):
            stage.begin(number, title)
            play(stage)
        finished = True
    except scenes.ClaimFailed as failure:
        raise Failed(f"{failure}\nthe server's log: {server.log}") from failure
    except ApiException as error:
        raise Failed(f"{explain(error, server.url)}\nthe server's log: {server.log}") from error
    finally:
        if not (finished and keep):
            server.stop()
        if finished and not keep:
            shutil.rmtree(folder)
    screen.proven(stage.proven)
    screen.title(f"All {len(stage.proven)} claims hold. It took {time.monotonic() - begun:.0f} s.")
    if keep:
        _say_how_to_go_on(server, screen)


def _say_how_to_go_on(server: ChildServer, screen: Screen) -> None:
    screen.title("The server stays up.")
    screen.say(f"{server.url}\n{server.url}/docs\n{server.url}/openapi.json")
    screen.say("\n" + CURL.format(url=server.url, json="-H 'content-type: application/json'"))
    screen.say(f"\nend it with: kill {server.pid}   (its files: {server.folder})")
