"""The JSON that requests may hold: what is refused, where it stands, and that nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runyard.api.profile import LARGEST, MAX_DEPTH, SMALLEST, decode
from runyard.errors import InvalidInput

PLACES: list[tuple[bytes, str]] = [
    (b'{"a":1,"a":1}', "a"),
    (b'{"a":{"b":[0,{"c":1,"d":2,"c":3}]}}', "a.b[1].c"),
    (b'{"a":1,"\\u0061":2}', "a"),
    (b'{"a":"\\u003a\\u003a","b":1,"b":2}', "b"),
    (b'{"a":[18446744073709551616]}', "a[0]"),
    (b'{"a":-9223372036854775809}', "a"),
    (b'{"a":' + b"9" * 5000 + b"}", "a"),
    (b'{"a":[1,1e400]}', "a[1]"),
    (b'{"a":NaN}', "a"),
    (b'{"a":[[Infinity]]}', "a[0][0]"),
    (b'{"a":"x\\u0000y"}', "a"),
    (b'{"a":{"\\u0000":1}}', "a.\0"),
    (b'{"a":"\\\\\\u0000"}', "a"),
    (b'{"a":"\\ud834"}', "a"),
    (b'{"a":"\\udd1e\\ud834"}', "a"),
    (b'{"a":"\xff"}', "a"),
    (b'{"a":"\xed\xa0\x80"}', "a"),
    (b'{"a":"\xc0\x80"}', "a"),
    (b'{"a":' * 101 + b"1" + b"}" * 101, "body"),
    (b'{"a":' + b"[" * 100_000, "body"),
    (b"\xef\xbb\xbf{}", "body"),
    (b'{"a":1', "body"),
    (b"", "body"),
    (b"[]", "body"),
    (b"1", "body"),
]


@pytest.mark.parametrize(("body", "field"), PLACES, ids=lambda value: repr(value)[:30])
def test_what_cannot_be_kept_is_refused_by_its_place(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(body)
    assert refused.value.metadata["field"] == field
    assert refused.value.reason == "validation_error"


@pytest.mark.parametrize("fault", [b'"k":1,"k":2', b'"k":18446744073709551616', b'"k":"\\u0000"', b'"k":NaN'])
def test_in_a_very_large_body_a_fault_is_refused_without_its_place(fault: bytes) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(b'{"padding":"' + b"x" * 200_000 + b'",' + fault + b"}")
    assert refused.value.metadata["field"] == "body"


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":18446744073709551615,"b":-9223372036854775808}',
        b'{"a":1.7976931348623157e308,"b":5e-324,"c":-0.0}',
        b'{"a":"\\\\u0000","b":"\\\\\\\\u0000"}',
        b'{"a":":","b":"\\u003a","c:":{"c:":1}}',
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}',
        b'{"a":"\\ud834\\udd1e"}',
        b' { "a" : [ 1 , 2 ] , "b" : "\\n" } ',
        b'{"a":' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH,
        b'{"":1," ":2}',
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_unusual_and_means_one_thing_is_taken(body: bytes) -> None:
    assert decode(body) == json.loads(body)


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(SMALLEST, LARGEST)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda children: st.lists(children) | st.dictionaries(TEXTS, children),
    max_leaves=20,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXTS, VALUES), st.booleans(), st.sampled_from([None, 2]))
def test_every_other_document_is_taken_as_it_is(document: dict[str, Any], ascii: bool, indent: int | None) -> None:
    assert decode(json.dumps(document, ensure_ascii=ascii, indent=indent).encode()) == document


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1), st.data())
def test_a_repeated_key_is_always_found(document: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(document)))
    members = [*document.items(), (key, data.draw(VALUES))]
    order = data.draw(st.permutations(members))
    escapes = data.draw(st.booleans())
    written = [f"{_quoted(name, escapes)}:{json.dumps(value)}" for name, value in order]
    with pytest.raises(InvalidInput) as refused:
        decode(f"{{{','.join(written)}}}".encode())
    assert "twice" in refused.value.message


def _quoted(text: str, escapes: bool) -> str:
    """A JSON text; with `escapes`, colons and letters are written in their longer form."""
    if not escapes:
        return json.dumps(text)
    units = text.encode("utf-16-be")
    return '"' + "".join(f"\\u{units[i]:02x}{units[i + 1]:02X}" for i in range(0, len(units), 2)) + '"'
