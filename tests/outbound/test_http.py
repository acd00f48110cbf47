"""Outgoing HTTP against real receivers on loopback that fail, hang, redirect and lie; and names that change."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import receiver as receivers
import trustme
from receiver import Receiver, hang, receiving, redirect, status

from runyard.errors import InvalidInput, Undelivered
from runyard.outbound.contract import Letter, Reply
from runyard.outbound.guard import Bounds, parse_allowed, parse_domains
from runyard.outbound.http import HttpOutbound, resolve
from runyard.outbound.signing import Secret

AUTHORITY = trustme.CA()
"""Trusted by these tests alone, and only while they run."""
SECRETS = (Secret(bytes(range(32))),)


class Names:
    """Answers for names as told, one answer after the other; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def outbound(*, allow: Sequence[str] = ("127.0.0.1",), timeout: float = 5.0, **more: Any) -> HttpOutbound:
    allowed = parse_allowed(allow)
    return HttpOutbound(user_agent="Runyard/0", allowed=allowed, secrets=SECRETS, timeout=timeout, **more)


def send(sender: HttpOutbound, url: str, body: bytes = b'{"n":1}') -> Reply:
    return asyncio.run(sender.send(Letter(url, "msg_1", 7, body)))


def refusal(sender: HttpOutbound, url: str) -> Undelivered:
    with pytest.raises(Undelivered) as caught:
        send(sender, url)
    return caught.value


# what goes out


def test_a_letter_is_one_signed_post_as_it_stands() -> None:
    with receiving(status(202)) as receiver:
        assert send(outbound(), receiver.url + "/a%20b/../c?x[]=1&y=%C3%BC") == Reply(202)
    (message,) = receiver.messages
    assert message.line.startswith("POST /hook/")
    assert message.line.endswith("?x[]=1&y=%C3%BC HTTP/1.1")
    assert message.body == b'{"n":1}'
    signature = message.headers.pop("webhook-signature")
    assert signature.startswith("v1,")
    assert len(signature) == 47
    assert message.headers == {
        "host": f"127.0.0.1:{receiver.port}",
        "content-type": "application/json",
        "content-length": "7",
        "user-agent": "Runyard/0",
        "accept": "*/*",
        "connection": "close",
        "webhook-id": "msg_1",
        "webhook-timestamp": "7",
    }


def test_no_proxy_or_credential_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with receiving() as receiver, receiving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login ada password s3cret\n")
        monkeypatch.setenv("NETRC", str(netrc))
        assert send(outbound(), receiver.url).status == 200
        assert proxy.connections == 0
        assert "authorization" not in receiver.messages[0].headers


def test_a_connection_is_never_used_twice() -> None:
    with receiving() as receiver:

        async def story() -> None:
            sender = outbound()
            for _ in range(3):
                await sender.send(Letter(receiver.url, "msg_1", 7, b"{}"))

        asyncio.run(story())
        assert receiver.connections == 3


def test_the_library_is_loaded_when_something_is_sent_and_not_before() -> None:
    code = "import sys, runyard.server; print(sorted({'httpx2', 'httpcore2', 'anyio.streams'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"


# answers that fail, hang and lie


@pytest.mark.parametrize("code", [200, 204, 301, 307, 400, 404, 410, 429, 500, 503])
def test_every_status_is_an_answer(code: int) -> None:
    with receiving(status(code, retry_after="30", location="http://127.0.0.1:1/")) as receiver:
        assert send(outbound(), receiver.url) == Reply(code, "30")
        assert receiver.connections == 1, "a redirect is an answer like any other"


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (receivers.too_short, 200),
        (receivers.too_long, 200),
        (receivers.flood, 200),
        (receivers.drip_body, 200),
        (receivers.nothing, "no_answer"),
        (receivers.cut_short, "no_answer"),
        (receivers.no_http, "no_answer"),
        (receivers.flood_headers, "no_answer"),
        (receivers.raw(b"HTTP/1.1 2000 OK\r\n\r\n"), "no_answer"),
        (receivers.raw(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), "no_answer"),
        (receivers.raw(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"), 200),
        (receivers.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), 200),
        (hang, "no_answer"),
        (receivers.drip, "no_answer"),
    ],
    ids=[
        "ends before its length", "goes on after its length", "body without end", "body drips", "closes at once",
        "closes in a header", "is no HTTP", "headers without end", "no such status", "length is negative",
        "says gzip and is none", "continues first", "hangs", "status drips",
    ],
)  # fmt: skip
def test_what_is_said_after_the_status_is_all_the_same(answer: receivers.Answer, result: int | str) -> None:
    with receiving(answer) as receiver:
        begun = time.monotonic()
        if isinstance(result, int):
            assert send(outbound(timeout=20), receiver.url) == Reply(result)
        else:
            assert refusal(outbound(timeout=0.4), receiver.url).reason == result
        assert time.monotonic() - begun < 15, "the time limit is for all of it"


def test_of_a_body_without_end_little_is_read() -> None:
    with receiving(receivers.flood) as receiver:
        assert send(outbound(timeout=10), receiver.url) == Reply(200)
    assert receiver.flooded < 20_000_000, "what the buffers of two sockets hold"


def test_an_answer_that_comes_just_in_time_counts_though_its_body_does_not_end() -> None:
    def late(receiver: Receiver, connection: Any) -> None:
        receiver.closing.wait(0.2)
        receivers.drip_body(receiver, connection)

    with receiving(late) as receiver:
        assert send(outbound(timeout=0.4), receiver.url) == Reply(200)


def test_who_is_not_there_is_not_connected_to() -> None:
    with receiving() as receiver:
        url = receiver.url
    error = refusal(outbound(), url)
    assert error.reason == "no_connection"
    assert error.message.startswith("127.0.0.1 cannot be connected to")


# names


def test_a_name_is_resolved_once_and_the_connection_goes_to_the_address_that_was_checked() -> None:
    """The second answer for the name is an inner address where somebody listens: nobody comes."""
    with receiving() as public, receiving(address="::1") as inner:
        names = Names(["127.0.0.1"], ["::1"])
        sender = outbound(resolve=names)
        assert send(sender, f"http://hooks.example:{public.port}/x").status == 200
        assert names.asked == ["hooks.example"]
        assert public.messages[0].headers["host"] == f"hooks.example:{public.port}"
        # Now the name has moved inside, and the next try finds out.
        error = refusal(sender, f"http://hooks.example:{inner.port}/x")
        assert (error.reason, inner.connections) == ("not_allowed", 0)
        assert error.message == "hooks.example has a loopback address; only the setting webhook_allow can allow that"
        assert "::1" not in error.message


@pytest.mark.parametrize(
    "inner",
    [
        "127.0.0.1", "10.0.0.1", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1",
        "fe80::1", "fd00:ec2::254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "64:ff9b:1::1", "::",
    ],
)  # fmt: skip
def test_a_name_with_one_inner_address_is_refused_whatever_its_others(inner: str) -> None:
    for found in ([inner], ["93.184.216.34", inner], [inner, "2606:4700::1"]):
        error = refusal(outbound(allow=(), resolve=Names(found)), "http://hooks.example/")
        assert error.reason == "not_allowed"
        assert inner not in error.message


def test_a_name_that_is_allowed_may_be_inside() -> None:
    with receiving() as receiver:
        for allow in (["hooks.internal"], ["*.internal"], ["127.0.0.0/8"]):
            sender = outbound(allow=allow, resolve=Names(["127.0.0.1"]))
            assert send(sender, f"http://hooks.internal:{receiver.port}/").status == 200


def test_another_address_of_the_name_is_tried_where_one_does_not_answer() -> None:
    with receiving() as receiver:
        sender = outbound(allow=("127.0.0.1", "::1"), resolve=Names(["::1", "127.0.0.1"]))
        assert send(sender, f"http://hooks.example:{receiver.port}/").status == 200


def test_a_name_without_an_address_is_not_found() -> None:
    async def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    for resolver in (nobody, Names([])):
        error = refusal(outbound(resolve=resolver), "http://hooks.example/")
        assert (error.reason, error.message) == ("name_not_found", "hooks.example has no address")


def test_a_name_server_that_hangs_uses_up_the_time_limit_only() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    assert refusal(outbound(resolve=never, timeout=0.05), "http://hooks.example/").message == "no answer within 0.05 s"


def test_this_machine_has_its_addresses() -> None:
    assert {"127.0.0.1", "::1"} & set(asyncio.run(resolve("localhost", 80)))
    with pytest.raises(OSError):
        asyncio.run(resolve("a..b", 80))


# redirects


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_followed_where_the_setting_says_so_with_the_same_message(code: int) -> None:
    with receiving() as last:
        with receiving(redirect(f"{last.url}/there#part", code), redirect("/hook/again", code)) as first:
            assert send(outbound(redirects=2), first.url) == Reply(200)
            (one,), (other,) = first.messages, last.messages
            assert other.line == "POST /hook/there HTTP/1.1"
            assert other.body == one.body
            assert {k: v for k, v in other.headers.items() if k != "host"} == {
                k: v for k, v in one.headers.items() if k != "host"
            }
            # A relative one, to the same receiver; and not more of them than the setting says.
            assert send(outbound(redirects=1), first.url) == Reply(200)
            assert [message.line for message in first.messages[-2:]] == [
                "POST /hook HTTP/1.1",
                "POST /hook/again HTTP/1.1",
            ]
            first.then(redirect(last.url), redirect(last.url))
            assert send(outbound(redirects=0), first.url) == Reply(307)
            last.then(redirect(last.url), redirect(last.url))
            assert send(outbound(redirects=1), first.url) == Reply(307)


@pytest.mark.parametrize(
    "location",
    [
        "http://[::1]:{port}/", "//[::1]:{port}/", "http://inner.example:{port}/", "http://user@127.0.0.1:{port}/",
        "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://[::ffff:10.0.0.1]/",
        "http://0x7f000001/", "file:///etc/passwd", "gopher://a.example/",
        "http://a b/", "http://%/", "http://[/", "//[x]:y/",
    ],
)  # fmt: skip
def test_each_redirect_is_checked_like_a_url_of_its_own(location: str) -> None:
    with receiving(address="::1") as inner:
        with receiving(redirect(location.format(port=inner.port))) as outer:
            error = refusal(outbound(redirects=3, resolve=Names(["::1"])), outer.url)
            assert error.reason == "not_allowed"
            assert (outer.connections, inner.connections) == (1, 0)


def test_headers_of_the_deployment_go_to_the_receiver_that_was_named_and_to_no_other() -> None:
    with receiving() as other, receiving(redirect("/hook/moved")) as first:
        sender = outbound(redirects=2, headers={"x-token": "secret", "webhook-id": "mine"})
        first.then(redirect(f"{other.url}/there"))
        assert send(sender, first.url) == Reply(200)
        assert [message.headers.get("x-token") for message in first.messages] == ["secret", "secret"]
        assert [message.headers.get("x-token") for message in other.messages] == [None]
        assert first.messages[0].headers["webhook-id"] == "msg_1", "what says how it is sent is not theirs to change"


def test_a_redirect_out_of_bounds_is_not_followed() -> None:
    with receiving() as other, receiving(redirect(f"{other.url}/there")) as first:
        error = refusal(outbound(redirects=1, bounds=Bounds(ports=frozenset({first.port}))), first.url)
        assert error.reason == "not_allowed"
        assert not other.messages


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        ("https://hooks.example.com/x", None),
        ("https://HOOKS.example.com.:8443/x", None),
        ("https://a.b.corp.example/x", None),
        ("https://corp.example/x", "allowed_domains"),
        ("https://hooks.example.com.evil.example/x", "allowed_domains"),
        ("https://xcorp.example/x", "allowed_domains"),
        ("https://9.9.9.9/x", None),
        ("https://9.9.9.8/x", "allowed_domains"),
        ("http://hooks.example.com/x", "allowed_ports"),
        ("https://hooks.example.com:444/x", "allowed_ports"),
        ("https://hooks.example.com/" + "x" * 20, "max_url_length"),
    ],
)
def test_a_url_is_within_the_bounds_of_the_deployment(url: str, refused: str | None) -> None:
    names, below = parse_domains(["Hooks.Example.com", "*.corp.example", "9.9.9.9"])
    sender = outbound(allow=(), bounds=Bounds(names, below, frozenset({443, 8443}), 40))
    if refused is None:
        sender.check(url)
    else:
        with pytest.raises(InvalidInput, match=refused) as caught:
            sender.check(url)
        assert caught.value.metadata["field"] == "webhook"


def test_bounds_allow_nothing_that_is_out_of_bounds_anyway() -> None:
    sender = outbound(allow=(), bounds=Bounds(*parse_domains(["10.0.0.1", "localhost"])))
    for url in ("http://10.0.0.1/", "http://localhost/"):
        with pytest.raises(InvalidInput, match="webhook_allow"):
            sender.check(url)


@pytest.mark.parametrize("entry", ["", "*", "https://a.example", "a.example:443", "a.*.example", "*.", "127.1"])
def test_what_is_no_domain_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput, match="must be a host"):
        parse_domains([entry])


def test_a_redirect_that_wants_another_method_or_leads_nowhere_is_an_answer() -> None:
    with receiving(redirect("/x", 303), status(307), status(304, location="/x")) as receiver:
        for code in (303, 307, 304):
            assert send(outbound(redirects=3), receiver.url) == Reply(code)


def test_redirects_in_a_circle_come_to_an_end() -> None:
    with receiving(*[redirect("/hook")] * 20) as receiver:
        assert send(outbound(redirects=10), receiver.url) == Reply(307)
        assert receiver.connections == 11


# TLS


def serving() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("receiver.example").configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def test_tls_goes_by_the_name_and_the_connection_by_the_address() -> None:
    with receiving(tls=serving()) as receiver:
        url = f"https://receiver.example:{receiver.port}/hook"
        assert send(outbound(tls=trusting(), resolve=Names(["127.0.0.1"]), https_only=True), url) == Reply(200)
        (message,) = receiver.messages
        assert message.server_name == "receiver.example"
        assert message.headers["host"] == f"receiver.example:{receiver.port}"


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
def test_a_certificate_of_another_name_is_refused(host: str) -> None:
    with receiving(tls=serving()) as receiver:
        error = refusal(outbound(tls=trusting(), resolve=Names(["127.0.0.1"])), f"https://{host}:{receiver.port}/")
        assert error.reason == "no_connection"
        assert "certificate verify failed" in error.message
        assert receiver.messages == []


def test_a_certificate_of_nobody_known_is_refused() -> None:
    with receiving(tls=serving()) as receiver:
        url = f"https://receiver.example:{receiver.port}/"
        assert "certificate verify failed" in refusal(outbound(resolve=Names(["127.0.0.1"])), url).message
        assert receiver.messages == []


def test_a_redirect_never_leads_from_https_to_http() -> None:
    with receiving() as plain, receiving(redirect(plain.url), tls=serving()) as receiver:
        sender = outbound(tls=trusting(), resolve=Names(["127.0.0.1"]), redirects=1)
        error = refusal(sender, f"https://receiver.example:{receiver.port}/")
        assert (error.reason, plain.connections) == ("not_allowed", 0)
