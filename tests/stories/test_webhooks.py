"""A real server and a real receiver: what is told in the end, whatever the receiver does and whoever is killed."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import receiver as receivers
from receiver import Message, Receiver, hang, receiving, redirect, status
from server_process import STORY_AGENTS, Serve, ServerProcess, wait_until

from runyard.cli import run_command

NEW, OLD = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
SETTINGS = {"webhook_allow": "127.0.0.1", "webhook_timeout": 0.5, "webhook_retry_for": 3}
"""With pauses of half a second at most."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def create(server: ServerProcess, receiver: Receiver, **more: Any) -> str:
    wish = {"agent_id": "count", "input": 3, "webhook": receiver.url, **more}
    return server.background.create_run(wish).run_id


def deliveries(server: ServerProcess, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(runyard("webhooks", *arguments, "--json", "--url", server.url).stdout)


@dataclass(frozen=True)
class Said:
    """What a command line printed."""

    stdout: str
    stderr: str


def runyard(*arguments: str, code: int = 0) -> Said:
    """Run a command line, in this process: the server is in another."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        assert run_command([*arguments]) == code, stderr.getvalue()
    return Said(stdout.getvalue(), stderr.getvalue())


def over(server: ServerProcess, delivery_id: str) -> dict[str, Any]:
    """The delivery, once it is tried no more."""
    found: dict[str, Any] = {}

    def settled() -> bool:
        found.update(server.get(f"/webhooks/{delivery_id}")[1] or {"status": "absent"})
        return found["status"] in ("delivered", "parked")

    wait_until(settled, f"{delivery_id} is delivered or parked", server.log_text)
    return found


def id_of(run_id: str) -> str:
    return f"msg_{run_id.replace('-', '')}"


def verified(message: Message, secret: str) -> Any:
    """The event of a message that is signed with this secret."""
    signed = f"{message.headers['webhook-id']}.{message.headers['webhook-timestamp']}.".encode() + message.body
    digest = hmac.new(base64.b64decode(secret), signed, hashlib.sha256).digest()
    assert f"v1,{base64.b64encode(digest).decode()}" in message.headers["webhook-signature"].split(" ")
    return json.loads(message.body)


def test_a_receiver_that_fails_hangs_redirects_and_lies_is_told_in_the_end(serve: Serve) -> None:
    with receiving() as trap:
        answers = [status(500), hang, redirect(trap.url), receivers.cut_short, receivers.too_short]
        with receiving(*answers) as receiver:
            secrets = {"RUNYARD_WEBHOOK_SECRETS": f"whsec_{NEW},whsec_{OLD}"}
            server = serve(STORY_AGENTS, settings={**SETTINGS, "webhook_retry_for": 6}, env=secrets)
            run_id = create(server, receiver, metadata={"order": 7})
            messages = receiver.wait(len(answers), 20)
            assert over(server, id_of(run_id))["status"] == "delivered"
        assert trap.connections == 0, "a redirect is not followed"
        for message in messages:
            event = verified(message, NEW)
            assert verified(message, OLD) == event
            assert (message.id, event["type"]) == (id_of(run_id), "run.success")
            assert event["data"]["values"] == {"counted": 3}
            assert event["data"]["run"]["metadata"] == {"order": 7}
        timestamps = [int(message.headers["webhook-timestamp"]) for message in messages]
        assert timestamps == sorted(timestamps)


def test_an_open_question_is_told_and_its_answer_too(serve: Serve, receiver: Receiver) -> None:
    server = serve(STORY_AGENTS, settings=SETTINGS)
    thread = server.threads.create_thread({}).thread_id
    create(server, receiver, agent_id="ask", input=None, thread_id=thread)
    (asked,) = receiver.wait(1)
    (question,) = asked.event["data"]["interrupts"]
    assert (asked.event["type"], question["value"]) == ("run.interrupted", {"question": "which colour?"})
    create(server, receiver, agent_id="ask", input=None, thread_id=thread, command={"resume": {question["id"]: "blue"}})
    answered = receiver.wait(2)[1].event
    assert (answered["type"], answered["data"]["values"]) == ("run.success", {"answer": "blue"})
    assert "webhook-signature" not in asked.headers, "no secret is configured"


def test_what_ended_before_kill_9_is_told_after_the_restart(serve: Serve) -> None:
    """The server dies after outcomes were recorded and before, or while, they are told."""
    with receiving(*[hang] * 8) as receiver:
        server = serve(STORY_AGENTS, settings={**SETTINGS, "webhook_timeout": 60})
        runs = [create(server, receiver, input=number) for number in range(30)]
        for run_id in runs:
            server.background.wait_run(run_id)
        hanging = {message.id for message in receiver.wait(8)}
        server.kill9()
        begun = len(receiver.messages)
        server.restart()
        told = receiver.wait(begun + 30)[begun:]
        assert sorted(message.id for message in told) == sorted(map(id_of, runs)), "each of them, once"
        assert hanging <= {message.id for message in told}, "those under way too, with the same id"
        assert {message.id: message.event["data"]["values"]["counted"] for message in told} == {
            id_of(run_id): number for number, run_id in enumerate(runs)
        }


def test_a_server_that_is_told_to_stop_does_not_wait_for_a_receiver_that_hangs(serve: Serve) -> None:
    with receiving(*[hang] * 4) as receiver:
        server = serve(STORY_AGENTS, settings={**SETTINGS, "webhook_timeout": 60, "drain_grace": 60})
        run_id = create(server, receiver)
        receiver.wait(1)
        server.terminate()
        assert server.wait() == 0
        receiver._answers.clear()
        server.restart()
        delivered = over(server, id_of(run_id))
        assert (delivered["status"], delivered["attempts"]) == ("delivered", 1)


def test_what_was_given_up_is_listed_and_sent_again_from_the_command_line(serve: Serve) -> None:
    with receiving(status(410), *[status(503)] * 100) as receiver:
        server = serve(STORY_AGENTS, settings={**SETTINGS, "webhook_retry_for": 1})
        gone = create(server, receiver)
        assert over(server, id_of(gone))["last_status"] == 410
        failing = create(server, receiver)
        parked = over(server, id_of(failing))
        assert (parked["status"], parked["last_status"]) == ("parked", 503)
        assert parked["attempts"] > 3
        receiver._answers.clear()

        here = ("--url", server.url)
        assert [each["run_id"] for each in deliveries(server, "--status", "parked")] == [failing, gone]
        table = runyard("webhooks", "--status", "parked", *here).stdout
        assert f"{id_of(gone)}   parked   1 " in table
        assert "127.0.0.1 answered 410" in table
        shown = runyard("webhooks", "show", id_of(gone), *here).stdout
        assert '"counted": 3' in shown
        said = runyard("webhooks", "resend", id_of(gone), *here)
        assert said.stderr == f"{id_of(gone)} is sent again to {receiver.url}\n"
        assert over(server, id_of(gone))["status"] == "delivered"
        assert [each["run_id"] for each in deliveries(server, "resend", "--all-parked")] == [failing]
        assert over(server, id_of(failing))["status"] == "delivered"
        assert [message.id for message in receiver.messages[-2:]] == [id_of(gone), id_of(failing)]
        assert runyard("webhooks", "resend", "--all-parked", *here).stderr == "nothing is parked\n"
        assert deliveries(server, "--status", "parked") == []
        assert "does not exist" in runyard("webhooks", "show", "msg_none", *here, code=1).stderr
        assert "--all-parked" in runyard("webhooks", "resend", *here, code=2).stderr


def test_without_the_setting_nothing_goes_to_this_machine(serve: Serve, receiver: Receiver) -> None:
    server = serve(STORY_AGENTS)
    wish = json.dumps({"agent_id": "count", "input": 1, "webhook": receiver.url}).encode()
    assert post(server, "/runs", wish) == (422, "webhook")
    refused = json.dumps({"agent_id": "count", "input": 1, "webhook": "http://localhost:1/"}).encode()
    assert post(server, "/runs/wait", refused) == (422, "webhook")
    assert server.background.search_runs({}) == []
    assert receiver.connections == 0


def post(server: ServerProcess, path: str, body: bytes) -> tuple[int, str]:
    """Status, and the field that is at fault."""
    request = urllib.request.Request(server.url + path, body, {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    return caught.value.code, json.load(caught.value)["metadata"]["field"]
