"""When a delivery is tried again, what it is signed with, and how a run's webhook is seen."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard import runs
from runyard.deliveries import Delivery, Try, Verdict, host_of, id_of, pause, retry_after, verdict
from runyard.errors import InvalidInput
from runyard.outbound.signing import Secret, parse_secret, signed_headers
from runyard.runs import Acting, Command, Config, Dialect, Request

DAY = 86_400.0
NOW = 1_800_000_000_000_000


def delivery(**more: Any) -> Delivery:
    fields: dict[str, Any] = {
        "delivery_id": "msg_1", "owner": "", "run_id": "1", "thread_id": "t", "url": "https://a.example/",
        "host": "a.example", "created_at": NOW, "began_at": NOW, "due_at": NOW, "lease": 1, "sending": True,
        "attempts": 1,
    }  # fmt: skip
    return Delivery(**{**fields, **more})


FAILED = Try(500, "answered 500")


def schedule(span: float, chance: float) -> list[float]:
    """The seconds since the beginning at which tries happen, each failing at once."""
    times, now, attempts = [0.0], NOW, 1
    while True:
        result = verdict(delivery(attempts=attempts), FAILED, now, span=span, chance=chance)
        if result.due_at is None:
            assert result.status == "parked"
            return times
        assert result.due_at > now
        now, attempts = result.due_at, attempts + 1
        times.append((now - NOW) / 1e6)


def test_the_tries_of_a_day() -> None:
    assert schedule(DAY, 0.5) == [
        0, 5, 20, 65, 200, 605, 1820, 5465, 16400, 30800, 45200, 59600, 74000, 86400,
    ]  # fmt: skip


@given(st.just(0.0) | st.floats(0.01, 30 * DAY), st.floats(0, 1, exclude_max=True))
def test_tries_span_their_time_and_no_more(span: float, chance: float) -> None:
    times = schedule(span, chance)
    assert times == sorted(times)
    assert abs(times[-1] - span) < 0.001
    assert len(times) <= 25


def test_pauses_grow_and_differ_by_chance() -> None:
    assert [pause(n, DAY, 0.5) for n in (1, 2, 3, 4)] == [5, 15, 45, 135]
    assert pause(1, DAY, 0.0) == pytest.approx(4)
    assert pause(1, DAY, 1.0) == pytest.approx(6)
    assert pause(1000, DAY, 0.5) == DAY / 6


def test_an_answer_decides() -> None:
    def result(tried: Try, **more: Any) -> Verdict:
        return verdict(delivery(**more), tried, NOW + 1, span=DAY, chance=0.5)

    assert result(Try(200)) == result(Try(204)) == Verdict("delivered")
    assert result(Try(410, "answered 410")) == Verdict("parked")
    assert result(Try(error="a private address", final=True)) == Verdict("parked")
    for failed in (Try(500, "no"), Try(404, "no"), Try(302, "no"), Try(error="no answer")):
        assert result(failed) == Verdict("pending", NOW + 1 + 5_000_000)
    assert result(Try(200), began_at=0) == Verdict("delivered"), "late is better than never"
    assert result(FAILED, began_at=NOW - int(DAY * 1e6)) == Verdict("parked")


def test_a_wish_for_patience_is_granted_up_to_our_longest() -> None:
    def due(asked: float, attempts: int = 1) -> float:
        tried = Try(429, "answered 429", retry_after=asked)
        result = verdict(delivery(attempts=attempts), tried, NOW, span=DAY, chance=0.5)
        assert result.due_at is not None
        return (result.due_at - NOW) / 1e6

    assert due(600) == 600
    assert due(0) == 5, "never sooner than by ourselves"
    assert due(1e9) == DAY / 6
    assert due(60, attempts=5) == 405


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        ("99999999999999999999", 999_999_999.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2027 08:01:00 -0000", 60.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("\u0662", None),
        ("", None),
    ],
)
def test_retry_after_in_both_its_forms(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds


def test_a_deliverys_names() -> None:
    assert id_of("01a20c2f-0000-7000-8000-00000000abcd") == "msg_01a20c2f0000700080000000" + "0000abcd"
    assert [host_of(url) for url in ("http://A.example.:80/x", "https://[2001:DB8::1]:1/", "http://1.2.3.4?x")] == [
        "a.example", "2001:db8::1", "1.2.3.4",
    ]  # fmt: skip


# how a run's webhook is seen


@pytest.mark.parametrize("has", [True, False])
def test_a_webhook_is_seen_from_the_first_bytes_of_a_request(has: bool) -> None:
    everything = Request(
        input=msgspec.Raw(b'{"webhook":"http://b.example/"}'),
        messages=msgspec.Raw(b"[]"),
        config=Config(tags=["webhook"]),
        command=Command(update=msgspec.Raw(b'{"webhook":1}')),
        checkpoint={"checkpoint_id": "c"},
        stream_mode="values",
        multitask_strategy="enqueue",
        on_completion="keep",
        on_disconnect="cancel",
        if_not_exists="create",
        after_seconds=1.0,
        context=msgspec.Raw(b'{"webhook":1}'),
        interrupt_before=["webhook"],
        interrupt_after="*",
        durability="exit",
        stream_subgraphs=True,
        langgraph=Dialect("webhook"),
        acting=Acting("webhook", [], {"webhook": 1}),
        cancel_reason="webhook",
        webhook="http://a.example/" if has else msgspec.UNSET,
    )
    assert [field for field in everything.__struct_fields__ if getattr(everything, field) is msgspec.UNSET] == (
        [] if has else ["webhook"]
    ), "every field that can come first does"
    for request in (everything, Request(webhook=everything.webhook)):
        run = runs.Run("r", "t", "", "a", "pending", 1, 1, b"{}", msgspec.json.encode(request))
        assert run.has_webhook is has
        assert run.asked_for().webhook == everything.webhook


# signatures


KEY = bytes(range(32))


def test_a_signature_is_that_of_the_scheme() -> None:
    # The example of the scheme's own libraries.
    secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_in_use_signs_and_without_any_nothing_is_signed() -> None:
    headers = signed_headers([Secret(KEY), Secret(KEY[::-1])], "msg_1", 7, b"{}")
    expected = [
        base64.b64encode(hmac.new(key, b"msg_1.7.{}", hashlib.sha256).digest()).decode() for key in (KEY, KEY[::-1])
    ]
    assert headers["webhook-signature"] == f"v1,{expected[0]} v1,{expected[1]}"
    assert signed_headers([], "msg_1", 7, b"{}") == {"webhook-id": "msg_1", "webhook-timestamp": "7"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "s3cretS3cretS3cretS3cretS3cret==",
        "whsec_s3cret",
        "whsec_" + base64.b64encode(b"s3cret" * 3).decode(),
        "whsec_" + base64.b64encode(b"s3cret" * 11).decode(),
        "whsec_" + base64.b64encode(b"s3cret" * 5).decode() + "!",
        "WHSEC_" + base64.b64encode(b"s3cret" * 5).decode(),
        "whsec_\u00fc",
    ],
)
def test_a_wrong_secret_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_secret(text)
    assert caught.value.message == "must be whsec_ and 24 to 64 random bytes in base64"


def test_a_secret_is_not_shown_in_representations() -> None:
    text = base64.b64encode(KEY).decode()
    for shown in (repr(parse_secret(f"whsec_{text}")), str(Secret(KEY)), repr([Secret(KEY)]), f"{Secret(KEY)}"):
        assert shown.strip("[]") == "Secret(whsec_...)"
