"""What every call has in common: options, credentials, errors, the client's own settings."""

from __future__ import annotations

import ssl
import sys
import types

import ap_client
import httpx2
import pytest
from ap_client.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    NotFoundException,
    ServiceException,
    TransportException,
    UnauthorizedException,
    UnprocessableEntityException,
)

from .fake import RUN, STREAM, FakeServer


def api_of(server: FakeServer, **more: object) -> ap_client.BackgroundRunsApi:
    return ap_client.BackgroundRunsApi(server.client(**more))


def test_headers_can_be_added_and_replaced_whatever_their_case(server: FakeServer) -> None:
    api_of(server).create_run({}, _headers={"Idempotency-Key": "k", "accept": "x/y"})
    assert server.last.headers["idempotency-key"] == "k"
    assert server.last.headers.get_list("accept") == ["x/y"]


def test_content_type_can_be_named(server: FakeServer) -> None:
    api_of(server).create_run({}, _content_type="application/vnd.x+json")
    assert server.last.headers["content-type"] == "application/vnd.x+json"


@pytest.mark.parametrize(("given", "connect", "read"), [(3, 3, 3), ((1, 2), 1, 2), ((1, None), 1, None)], ids=str)
def test_a_timeout_is_a_number_or_a_pair(server: FakeServer, given: object, connect: float, read: float | None) -> None:
    api_of(server).get_run("r", _request_timeout=given)
    assert (server.last.extensions["timeout"]["connect"], server.last.extensions["timeout"]["read"]) == (connect, read)


def test_an_unknown_keyword_is_named(server: FakeServer) -> None:
    with pytest.raises(ap_client.ApiTypeError, match="unexpected keyword 'timeout'"):
        api_of(server).get_run("r", timeout=3)


def test_another_host_than_the_known_ones_is_refused(server: FakeServer) -> None:
    api_of(server).get_run("r", _host_index=0)
    with pytest.raises(ap_client.ApiValueError, match="host index 1 is out of range"):
        api_of(server).get_run("r", _host_index=1)


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"in": "header", "key": "Authorization", "value": "u:p", "type": "basic"}, "authorization", "Basic dTpw"),
        ({"in": "cookie", "key": "sid", "value": "x"}, "cookie", "sid=x"),
    ],
)
def test_request_auth_goes_where_it_says(server: FakeServer, auth: object, header: str, value: str) -> None:
    api_of(server).get_run("r", _request_auth=auth)
    assert server.last.headers[header] == value


def test_request_auth_goes_into_the_query_or_nowhere(server: FakeServer) -> None:
    api_of(server).get_run("r", _request_auth={"in": "query", "key": "k", "value": "v w"})
    assert str(server.last.url).endswith("/runs/r?k=v%20w")
    with pytest.raises(ap_client.ApiValueError, match="header, query or cookie, not 'body'"):
        api_of(server).get_run("r", _request_auth={"in": "body", "key": "k", "value": "v"})


def test_user_name_and_password_are_sent(server: FakeServer) -> None:
    api_of(server, configuration=ap_client.Configuration("http://s", username="u", password="p")).get_run("r")
    assert server.last.headers["authorization"] == "Basic dTpw"


def test_default_headers_cookie_and_user_agent_are_sent(server: FakeServer) -> None:
    client = server.client(header_name="X-Team", header_value="blue", cookie="a=b")
    client.set_default_header("X-More", "1")
    client.user_agent = "mine/1"
    ap_client.BackgroundRunsApi(client).get_run("r")
    wanted = {"x-team": "blue", "x-more": "1", "cookie": "a=b", "user-agent": "mine/1"}
    assert wanted.items() <= dict(server.last.headers).items()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestException),
        (401, UnauthorizedException),
        (403, ForbiddenException),
        (404, NotFoundException),
        (409, ConflictException),
        (418, ap_client.ApiException),
        (422, UnprocessableEntityException),
        (500, ServiceException),
        (503, ServiceException),
        (302, ap_client.ApiException),
    ],
)
def test_a_status_code_means_its_exception(status: int, kind: type[ap_client.ApiException]) -> None:
    body = {"code": "c", "message": "m", "metadata": {"field": "f"}}
    answer = httpx2.Response(status, json=body, headers={"x-a": "b"})
    with pytest.raises(ap_client.ApiException) as caught:
        api_of(FakeServer(answer)).get_run("r")
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.code, error.data.message, error.data.metadata) == (status, "c", "m", {"field": "f"})
    assert error.headers["X-A"] == "b"
    assert error.body == answer.text
    assert str(error).startswith(f"({status})\nReason: ")
    assert error.http_resp.data == answer.content


@pytest.mark.parametrize(("text", "data"), [('"gone"', "gone"), ("<html>", None), ("", None)])
def test_any_error_body_is_read(text: str, data: str | None) -> None:
    with pytest.raises(NotFoundException) as caught:
        api_of(FakeServer(httpx2.Response(404, text=text))).get_run("r")
    assert (caught.value.data, caught.value.body, caught.value.code) == (data, text, None)


@pytest.mark.parametrize("text", ["<html>", "[]", "3", '"x"'])
def test_an_answer_of_another_shape_is_an_error_too(text: str) -> None:
    with pytest.raises(ap_client.ApiException, match="the answer is not") as caught:
        api_of(FakeServer(httpx2.Response(200, text=text))).get_run("r")
    assert caught.value.status == 200


def test_a_waited_answer_may_begin_with_blank_lines() -> None:
    answer = httpx2.Response(
        200, text='\n\n{"run": ' + '{"run_id": "r"}}', headers={"content-type": "application/json"}
    )
    assert api_of(FakeServer(answer)).wait_run("r").run.run_id == "r"


def test_a_stream_declared_as_json_is_decoded() -> None:
    assert api_of(FakeServer(httpx2.Response(200, json={"a": 1}))).stream_run("r") == {"a": 1}


def test_no_server_is_status_0_and_keeps_its_cause() -> None:
    with ap_client.ApiClient(ap_client.Configuration("http://127.0.0.1:9")) as client:
        with pytest.raises(TransportException, match=r"GET http://127.0.0.1:9/runs/r: .*refused") as caught:
            ap_client.BackgroundRunsApi(client).get_run("r")
    assert caught.value.status == 0
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)


def test_the_errors_of_an_injected_httpx_client_are_status_0_too(monkeypatch: pytest.MonkeyPatch) -> None:
    httpx = types.ModuleType("httpx")
    httpx.HTTPError = type("HTTPError", (Exception,), {})
    httpx.InvalidURL = type("InvalidURL", (Exception,), {})
    monkeypatch.setitem(sys.modules, "httpx", httpx)

    def broken(request: httpx2.Request) -> httpx2.Response:
        raise httpx.HTTPError("cut")

    with pytest.raises(TransportException, match="cut"):
        api_of(FakeServer(broken)).get_run("r")


def test_what_does_not_fit_is_refused_before_it_is_sent_unless_validation_is_off(server: FakeServer) -> None:
    configuration = ap_client.Configuration("http://server")
    api = api_of(server, configuration=configuration)
    with pytest.raises(ap_client.ApiValueError, match="on_completion"):
        api.create_run({"on_completion": "drop"})
    assert server.requests == []
    configuration.client_side_validation = False
    api.create_run({"on_completion": "drop"})
    assert server.last_body == {"on_completion": "drop"}


def test_a_raw_answer_does_not_raise_and_reads_in_pieces() -> None:
    missing = api_of(FakeServer(httpx2.Response(404, text="gone"))).get_run_without_preload_content("r")
    assert (missing.status, missing.reason, missing.data) == (404, "Not Found", b"gone")

    with api_of(FakeServer()).stream_run_without_preload_content("r") as raw:
        assert raw.getheader("Content-Type") == "text/event-stream"
        assert raw.read(6) + raw.data == STREAM.encode()
    assert b"".join(api_of(FakeServer()).stream_run_without_preload_content("r")) == STREAM.encode()
    assert api_of(FakeServer()).get_run_without_preload_content("r").json() == RUN


def test_a_client_closes_what_it_opened_and_can_be_used_again(server: FakeServer) -> None:
    client = server.client()
    with client:
        ap_client.BackgroundRunsApi(client).get_run("r")
    ap_client.BackgroundRunsApi(client).get_run("r")
    assert len(server.requests) == 2


def test_the_default_client_is_taken_where_none_is_given(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ap_client.ApiClient, "_default", None)
    ap_client.ApiClient.set_default(server.client())
    assert ap_client.BackgroundRunsApi().get_run("r").run_id == RUN["run_id"]


def test_configuration_has_its_documented_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ap_client.Configuration, "_default", None)
    configuration = ap_client.Configuration(api_key={"k": "secret"}, api_key_prefix={"k": "Token"})
    assert configuration.host == "http://localhost"
    configuration.host = "http://other/base/"
    assert (configuration.host_at(0), configuration.server_index) == ("http://other/base", None)
    assert configuration.get_api_key_with_prefix("k") == "Token secret"
    assert "Host: http://other/base/" in configuration.to_debug_report()
    ap_client.Configuration.set_default(configuration)
    assert ap_client.Configuration.get_default_copy() is configuration


def test_tls_settings_are_obeyed() -> None:
    configuration = ap_client.Configuration()
    assert configuration.tls() is True
    configuration.assert_hostname = False
    assert isinstance(configuration.tls(), ssl.SSLContext)
    configuration.verify_ssl = False
    context = configuration.tls()
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_NONE


def test_a_key_error_shows_its_message() -> None:
    assert str(ap_client.ApiKeyError("no key 'a'", ["a"])) == "no key 'a'"
