"""To whom a webhook may go: every kind of address, in every spelling and wrapping."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runyard.errors import InvalidInput
from runyard.outbound.guard import Allowed, check, forbidden, kind_of, parse_allowed, parse_url

KINDS: list[tuple[str | None, str]] = [
    (None, "8.8.8.8 1.1.1.1 93.184.216.34 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 11.0.0.1 126.0.0.1"),
    (None, "128.0.0.1 169.253.255.255 192.0.1.1 192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255"),
    (None, "2606:4700::1111 2a00:1450:4001:80b::200e 2001:200::1 2001:4860:4860::8888 2003::1"),
    (None, "::ffff:8.8.8.8 64:ff9b::8.8.8.8"),
    ("unspecified", "0.0.0.0 0.1.2.3 :: ::ffff:0.0.0.0"),
    ("loopback", "127.0.0.1 127.0.0.53 127.255.255.255 ::1 ::ffff:127.0.0.1 ::ffff:7f00:1 64:ff9b::127.0.0.1"),
    ("private", "10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.255.255"),
    ("private", "198.18.0.1 198.19.255.255 100.64.0.1 100.127.255.255 fc00::1 fd12:3456:789a::1 fdff:ffff::1 fec0::1"),
    ("private", "::ffff:10.0.0.1 ::ffff:192.168.1.1 64:ff9b::10.0.0.1 64:ff9b::c0a8:101 ::ffff:100.64.0.1"),
    ("link-local", "169.254.0.1 169.254.255.255 fe80::1 febf::1 ::ffff:169.254.1.1"),
    ("metadata", "169.254.169.254 169.254.170.2 100.100.100.200 192.0.0.192 fd00:ec2::254 fd20:ce::254"),
    ("metadata", "::ffff:169.254.169.254 ::ffff:a9fe:a9fe 64:ff9b::169.254.169.254 fe80::a9fe:a9fe"),
    ("multicast", "224.0.0.1 239.255.255.255 ff02::1 ff0e::1 ::ffff:224.0.0.1"),
    ("documentation", "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1 3fff:fff::1 ::ffff:203.0.113.7"),
    ("reserved", "240.0.0.1 255.255.255.255 192.0.0.8 192.31.196.1 192.52.193.1 192.175.48.1 ::ffff:255.255.255.255"),
    ("reserved", "100::1 2001:2::1 2001:20::1 2001:1::1 5f00::1 4000::1 0:0:1::1 2620:4f:8000::1"),
    ("wrapped", "2002:7f00:1:: 2002:a00:1::1 2002:808:808::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 192.88.99.1"),
    ("wrapped", "::127.0.0.1 ::8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b:1::1 64:ff9b:1::7f00:1 64:ff9b:1:ffff::1"),
]  # fmt: skip
ADDRESSES = [(kind, address) for kind, addresses in KINDS for address in addresses.split()]


@pytest.mark.parametrize(("kind", "address"), ADDRESSES, ids=[address for _, address in ADDRESSES])
def test_an_address_is_global_or_has_a_kind(kind: str | None, address: str) -> None:
    assert kind_of(ip_address(address)) == kind
    assert forbidden([ip_address(address)], "name.example", Allowed()) == kind


@pytest.mark.parametrize(("kind", "address"), ADDRESSES, ids=[address for _, address in ADDRESSES])
def test_an_address_in_a_url_is_judged_when_the_run_is_created(kind: str | None, address: str) -> None:
    url = f"https://[{address}]/hook" if ":" in address else f"http://{address}:8080/hook"
    if kind is None:
        check(parse_url(url), Allowed())
        return
    with pytest.raises(InvalidInput, match=f"a {kind} address") as caught:
        check(parse_url(url), Allowed())
    assert caught.value.metadata["field"] == "webhook"


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_the_library_knows_to_be_special_is_refused(address) -> None:  # type: ignore[no-untyped-def]
    if not address.is_global or address.is_multicast:
        assert kind_of(address) is not None


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_never_better_than_what_it_wraps(four) -> None:  # type: ignore[no-untyped-def]
    number = int(four)
    wrapped = [
        ip_address((0xFFFF << 32) | number),
        ip_address((0x0064FF9B << 96) | number),
        ip_address(number),
        ip_address((0x2002 << 112) | (number << 80)),
        ip_address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
        ip_address((0x0064FF9B0001 << 80) | number),
    ]
    for address in wrapped:
        if kind_of(four) is not None:
            assert kind_of(address) is not None, address


def test_one_bad_address_of_a_name_is_enough() -> None:
    mixed = [ip_address("8.8.8.8"), ip_address("10.0.0.1")]
    assert forbidden(mixed, "name.example", Allowed()) == "private"
    assert forbidden(mixed[:1], "name.example", Allowed()) is None


# what the setting allows


def test_the_setting_allows_what_it_names_and_nothing_beside() -> None:
    allowed = parse_allowed(["127.0.0.1", "10.1.0.0/16", "fd12::/32", "Hooks.internal.", "*.corp.example"])

    def judged(address: str, host: str = "name.example") -> str | None:
        return forbidden([ip_address(address)], host, allowed)

    assert judged("127.0.0.1") is judged("10.1.255.1") is judged("fd12::9") is judged("8.8.8.8") is None
    assert judged("::ffff:10.1.2.3") is None, "the same address, written otherwise"
    assert judged("64:ff9b::10.1.2.3") == "private", "another address, on the way to a translator"
    assert judged("127.0.0.2") == "loopback"
    assert judged("10.2.0.1") == judged("fd13::1") == "private"
    for host in ("hooks.internal", "a.corp.example", "b.a.corp.example"):
        assert judged("192.168.1.1", host) is None
    for host in ("x.hooks.internal", "corp.example", "acorp.example", "hooks.internal.example"):
        assert judged("192.168.1.1", host) == "private"


@pytest.mark.parametrize("metadata", ["169.254.169.254", "fd00:ec2::254"])
def test_a_metadata_address_has_to_be_named_itself(metadata: str) -> None:
    around = parse_allowed(["0.0.0.0/0", "::/0", "name.example", "169.254.0.0/16"])
    assert forbidden([ip_address(metadata)], "name.example", around) == "metadata"
    assert forbidden([ip_address("10.0.0.1")], "other.example", around) is None
    assert forbidden([ip_address(metadata)], "name.example", parse_allowed([metadata])) is None


@pytest.mark.parametrize(
    "entry", ["10.0.0.1/8", "10.0.0.0/33", "http://a.example", "a b", "*", "*.", "", "-a", "a:1", "::g"]
)
def test_an_entry_that_is_neither_address_nor_name_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput, match="must be an address") as caught:
        parse_allowed(["127.0.0.1", entry])
    assert repr(entry) in caught.value.message


def test_this_machine_by_name_is_refused_at_once_unless_it_is_allowed() -> None:
    for url in ("http://localhost/", "http://LOCALHOST:8000/", "http://localhost./", "http://a.localhost/"):
        with pytest.raises(InvalidInput, match="a loopback address"):
            check(parse_url(url), Allowed())
    for entry in ("localhost", "127.0.0.1", "::1", "127.0.0.0/8"):
        check(parse_url("http://localhost/"), parse_allowed([entry]))


# URLs


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("http://a.example", "a.example", "/"),
        ("HTTPS://A.Example./x?y=1&z[]=%20", "a.example", "/x?y=1&z[]=%20"),
        ("https://a.example?x=1", "a.example", "/?x=1"),
        ("https://a.example:443/", "a.example", "/"),
        ("https://a.example:80/", "a.example:80", "/"),
        ("http://a.example:08080/", "a.example:8080", "/"),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example", "/"),
        ("http://under_score.example/", "under_score.example", "/"),
        ("http://1.1.1.1:8080/x", "1.1.1.1:8080", "/x"),
        ("https://[2606:4700:0::1111]:8443/", "[2606:4700::1111]:8443", "/"),
        ("http://1a.example/", "1a.example", "/"),
        ("http://a.example//b//../c", "a.example", "//b//../c"),
    ],
)
def test_a_url_is_taken_apart_once(url: str, authority: str, path: str) -> None:
    target = parse_url(url)
    assert (target.authority, target.path) == (authority, path)
    assert parse_url(target.url) == target


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "characters; allowed: 1 to 65536"),
        ("http://a.example/" + "x" * 65536, "characters; allowed: 1 to 65536"),
        ("a.example/hook", "must begin with http:// or https://"),
        ("/hook", "must begin with"),
        ("//a.example/", "must begin with"),
        ("ftp://a.example/", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("http:/a.example", "must begin with"),
        ("http:a.example", "must begin with"),
        ("http://", "must have a host"),
        ("http:///path", "must have a host"),
        ("http://:80/", "must have a host"),
        ("http://a.example:/", "must have a host"),
        ("http://a.example:0/", "has port 0"),
        ("http://a.example:65536/", "has port 65536"),
        ("http://a.example:123456/", "must have a host"),
        ("http://a.example:8o/", "must have a host"),
        ("http://a.example:80:80/", "must have a host"),
        ("http://user@a.example/", "user information"),
        ("http://user:secret@a.example/", "user information"),
        ("http://a.example@127.0.0.1/", "user information"),
        ("http://a.example/#top", "a fragment"),
        ("http://a.example#", "a fragment"),
        ("http://a.example\\@127.0.0.1/", "a character that a URL cannot"),
        ("http://a.example/a b", "a character that a URL cannot"),
        (" http://a.example/", "a character that a URL cannot"),
        ("http://a.example/\n", "a character that a URL cannot"),
        ("http://a.example/\r\nhost: b", "a character that a URL cannot"),
        ("http://a.example/\x00", "a character that a URL cannot"),
        ("http://b\u00fccher.example/", "a character that a URL cannot"),
        ("http://\u2460\u2466.\u24ea.\u24ea.\u2460/", "a character that a URL cannot"),
        ("http://a.example/%zz", "a character that a URL cannot"),
        ("http://a.example/<b>", "a character that a URL cannot"),
        ("http://%31%32%37.0.0.1/", "four decimal numbers"),
        ("http://loc%61lhost/", "no host name"),
        ("http://a..example/", "no host name"),
        ("http://-a.example/", "no host name"),
        ("http://" + "a" * 64 + ".example/", "no host name"),
        ("http://" + "a." * 127 + "example/", "no host name"),
        ("http://127.1/", "four decimal numbers"),
        ("http://127.0.1/", "four decimal numbers"),
        ("http://2130706433/", "four decimal numbers"),
        ("http://017700000001/", "four decimal numbers"),
        ("http://0177.0.0.1/", "four decimal numbers"),
        ("http://0x7f000001/", "four decimal numbers"),
        ("http://0x7f.0.0.1/", "four decimal numbers"),
        ("http://127.0.0.0x1/", "four decimal numbers"),
        ("http://127.0.0.01/", "four decimal numbers"),
        ("http://127.0.0.1./", "four decimal numbers"),
        ("http://1.2.3.4.5/", "four decimal numbers"),
        ("http://a.example.0x/", "four decimal numbers"),
        ("http://300.1.1.1/", "four decimal numbers"),
        ("http://[::1/", "must have a host"),
        ("http://::1/", "must have a host"),
        ("http://[::g]/", "no IPv6 address"),
        ("http://[127.0.0.1]/", "no IPv6 address"),
        ("http://[]/", "no IPv6 address"),
        ("http://[fe80::1%25eth0]/", "a zone"),
        ("http://[::1%251]/", "a zone"),
        ("http://[v1.x]/", "no IPv6 address"),
    ],
)
def test_a_url_that_is_none_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_url(url)
    assert why in caught.value.message
    assert caught.value.message.startswith("webhook ")
    assert caught.value.metadata["field"] == "webhook"


def test_https_alone_where_the_setting_says_so() -> None:
    assert parse_url("https://a.example/", https_only=True).port == 443
    with pytest.raises(InvalidInput, match="must begin with https://"):
        parse_url("http://a.example/", https_only=True)


@given(st.text(max_size=40) | st.text(alphabet="htps:/@.[]%#?0123456789abcfx-\\ \n", max_size=40))
def test_any_text_is_a_target_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/x"):
        try:
            target = parse_url(url)
        except InvalidInput:
            continue
        assert target.url.isascii()
        assert parse_url(target.url) == target
