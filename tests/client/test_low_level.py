"""A call step by step, as code written against the generated client may do it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ap_client
import httpx2
import pytest
from ap_client import ApiClient, Configuration, Message, Run, RunStatus
from ap_client.exceptions import NotFoundException

from .fake import RUN, FakeServer


@pytest.fixture
def client() -> ApiClient:
    return ApiClient(Configuration("http://server/", access_token="t"), cookie="a=b")


def test_a_route_without_a_method_can_be_called(server: FakeServer) -> None:
    client = server.client(Configuration("http://server", access_token="t"), cookie="a=b")
    request = client.param_serialize(
        "POST",
        "/runs/{id}/x",
        path_params={"id": "a/b"},
        query_params=[("wait", True), ("tag", ["x", "y z"])],
        header_params={"X-A": "1"},
        body={"message": Message(role="user", content="hi")},
        collection_formats={"tag": "multi"},
    )
    answer = client.call_api(*request, _request_timeout=3)
    answer.read()
    assert client.response_deserialize(answer, {"200": "Run"}).data == Run.from_dict(RUN)
    sent = server.last
    assert str(sent.url) == "http://server/runs/a%2Fb/x?wait=true&tag=x&tag=y%20z"
    assert server.last_body == {"message": {"role": "user", "content": "hi"}}
    wanted = {"x-a": "1", "authorization": "Bearer t", "cookie": "a=b", "content-type": "application/json"}
    assert wanted.items() <= dict(sent.headers).items()
    assert sent.extensions["timeout"]["read"] == 3


def test_the_async_client_calls_the_same(server: FakeServer) -> None:
    async def scene() -> None:
        async with server.async_client() as client:
            async with await client.call_api(*client.param_serialize("GET", "/runs/r")) as answer:
                assert client.deserialize((await answer.read()).decode(), "Run", None) == Run.from_dict(RUN)

    asyncio.run(scene())


def test_form_fields_are_sent_where_there_is_no_body(server: FakeServer) -> None:
    client = server.client()
    client.call_api(*client.param_serialize("POST", "/x", post_params={"a": "1 2"}))
    assert server.last.content == b"a=1+2"
    assert server.last.headers["content-type"] == "application/x-www-form-urlencoded"
    with pytest.raises(ap_client.ApiValueError, match="files cannot be sent"):
        client.call_api(*client.param_serialize("POST", "/x", files={"f": b"1"}))


def test_credentials_of_the_request_win(client: ApiClient) -> None:
    other = {"in": "query", "key": "k", "value": "v"}
    _, url, headers, _, _ = client.param_serialize("GET", "/x", auth_settings=["bearer"], _request_auth=other)
    assert url == "http://server/x?k=v"
    assert "Authorization" not in headers
    assert "Authorization" not in client.param_serialize("GET", "/x", auth_settings=[])[2]


def test_another_host_can_be_named(client: ApiClient) -> None:
    assert client.param_serialize("GET", "/x", _host="http://b")[1] == "http://b/x"
    client.configuration.ignore_operation_servers = True
    assert client.param_serialize("GET", "/x", _host="http://b")[1] == "http://server/x"


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("csv", [("a", "1,2")]),
        ("ssv", [("a", "1 2")]),
        ("tsv", [("a", "1\t2")]),
        ("pipes", [("a", "1|2")]),
        ("multi", [("a", 1), ("a", 2)]),
    ],
)
def test_collections_have_formats(client: ApiClient, form: str, wanted: list[tuple[str, Any]]) -> None:
    assert client.parameters_to_tuples({"a": [1, 2]}, {"a": form}) == wanted
    assert client.parameters_to_tuples([("a", [1, 2])], None) == [("a", [1, 2])]


def test_a_query_holds_booleans_numbers_and_objects(client: ApiClient) -> None:
    assert (
        client.parameters_to_url_query({"a": False, "b": 1.5, "c": {"d": 1}}, None)
        == "a=false&b=1.5&c=%7B%22d%22%3A1%7D"
    )


@pytest.mark.parametrize(
    ("media", "wanted"),
    [(["text/event-stream", "application/json"], "application/json"), (["a/b", "c/d"], "a/b"), ([], None)],
)
def test_media_types_are_chosen(client: ApiClient, media: list[str], wanted: str | None) -> None:
    assert client.select_header_accept(media) == client.select_header_content_type(media) == wanted


def test_values_become_plain(client: ApiClient) -> None:
    value = {"s": RunStatus.ERROR, "t": (1, datetime(2025, 1, 1, tzinfo=UTC)), "m": Message(role="u", content="x")}
    assert client.sanitize_for_serialization(value) == {
        "s": "error", "t": [1, "2025-01-01T00:00:00+00:00"], "m": {"role": "u", "content": "x"},
    }  # fmt: skip


def test_files_become_form_fields(client: ApiClient, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"1")
    given = {"p": str(path), "b": b"2", "l": [("c.json", b"3"), b"4"]}
    assert client.files_parameters(given) == [
        ("p", ("a.txt", b"1", "text/plain")),
        ("b", ("b", b"2", "application/octet-stream")),
        ("l", ("c.json", b"3", "application/json")),
        ("l", ("l", b"4", "application/octet-stream")),
    ]


@pytest.mark.parametrize(
    ("text", "kind", "media", "wanted"),
    [
        ("[1]", "List[int]", "application/json", [1]),
        ('["2025-01-01T00:00:00Z"]', "List[datetime]", "application/json", [datetime(2025, 1, 1, tzinfo=UTC)]),
        ('{"a": 1}', "Dict[str, object]", "application/problem+json; charset=utf-8", {"a": 1}),
        ('{"a": 1}', "object", None, {"a": 1}),
        ("plain", "str", None, "plain"),
        ("[1]", "str", "text/event-stream", "[1]"),
        ("", "object", "application/json", ""),
        ('"error"', "RunStatus", "application/json", RunStatus.ERROR),
        ('[["a"]]', "List[List[str]]", "application/json", [["a"]]),
    ],
)
def test_a_text_is_read_as_the_type_that_is_named(
    client: ApiClient, text: str, kind: str, media: str | None, wanted: Any
) -> None:
    assert client.deserialize(text, kind, media) == wanted


@pytest.mark.parametrize(
    ("text", "kind", "media", "sentence"),
    [
        ("{}", "Nonsense", None, "'Nonsense' is not the name of a type"),
        ("{", "Run", "application/json", "not JSON"),
        ("x", "Run", "image/png", "unsupported content type: image/png"),
    ],
)
def test_what_cannot_be_read_says_why(
    client: ApiClient, text: str, kind: str, media: str | None, sentence: str
) -> None:
    with pytest.raises(ap_client.OpenApiException, match=sentence):
        client.deserialize(text, kind, media)


def test_an_answer_outside_2xx_raises_what_it_holds() -> None:
    body = {"code": "run_not_found", "message": "m"}
    client = FakeServer(httpx2.Response(404, json=body)).client()
    answer = client.call_api("GET", "http://server/runs/r")
    with pytest.raises(NotFoundException) as caught:
        client.response_deserialize(answer, {"200": "Run", "4XX": "ErrorResponse"})
    assert caught.value.code == "run_not_found"
    assert client.rest_client.request("GET", "http://server/x").status == 404


def test_a_whole_body_can_be_read_once_and_had_again(server: FakeServer) -> None:
    answer = ap_client.BackgroundRunsApi(server.client()).get_run_without_preload_content("r")
    content = answer.read()
    assert content == answer.data
    assert answer.read() == b""
    pieces = ap_client.BackgroundRunsApi(server.client()).get_run_without_preload_content("r")
    assert pieces.read(5) + pieces.data == content
