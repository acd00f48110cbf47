"""The documented surface of the client, name by name: configuration, client, answers, errors, models."""

from __future__ import annotations

import copy
import inspect
import json
import logging
from pathlib import Path

import ap_client
import ap_client.exceptions
import ap_client.rest
import pytest
from ap_client import aio
from ap_client.model import Model
from ap_client.models import AgentCapabilities, Input, Message, Run, StoreDeleteRequest, StorePutRequest, StreamMode

from .fake import FakeServer

CONFIGURATION_PARAMETERS = (
    "host api_key api_key_prefix username password access_token server_index server_variables "
    "server_operation_index server_operation_variables ignore_operation_servers ssl_ca_cert retries ca_cert_data debug"
)
CONFIGURATION_ATTRIBUTES = (
    "host api_key api_key_prefix username password access_token server_index server_variables "
    "server_operation_index server_operation_variables ignore_operation_servers ssl_ca_cert retries ca_cert_data debug "
    "temp_folder_path refresh_api_key_hook logger logger_format logger_formatter logger_file logger_stream_handler "
    "logger_file_handler verify_ssl cert_file key_file assert_hostname tls_server_name connection_pool_maxsize proxy "
    "proxy_headers safe_chars_for_path_param client_side_validation socket_options datetime_format date_format"
)
CONFIGURATION_METHODS = (
    "set_default get_default get_default_copy get_api_key_with_prefix get_basic_auth_token auth_settings "
    "to_debug_report get_host_settings get_host_from_settings"
)
CLIENT_METHODS = (
    "set_default_header param_serialize call_api response_deserialize sanitize_for_serialization deserialize "
    "parameters_to_tuples parameters_to_url_query files_parameters select_header_accept select_header_content_type "
    "update_params_for_auth"
)
MODELS = sorted(
    (each for each in vars(ap_client).values() if isinstance(each, type) and issubclass(each, Model)),
    key=lambda each: each.__name__,
)


@pytest.fixture
def configuration() -> ap_client.Configuration:
    return ap_client.Configuration()


def test_configuration_takes_the_documented_arguments_in_their_order() -> None:
    assert [*inspect.signature(ap_client.Configuration).parameters] == CONFIGURATION_PARAMETERS.split()


def test_configuration_has_the_documented_attributes_and_methods(configuration: ap_client.Configuration) -> None:
    for name in CONFIGURATION_ATTRIBUTES.split():
        value = getattr(configuration, name)
        setattr(configuration, name, value)
    assert all(callable(getattr(configuration, name)) for name in CONFIGURATION_METHODS.split())


def test_an_explicit_host_resets_the_server_index(configuration: ap_client.Configuration) -> None:
    assert (configuration.host, configuration.server_index) == ("http://localhost", 0)
    configuration.host = "http://a"
    assert (configuration.host, configuration.server_index) == ("http://a", None)
    assert ap_client.Configuration("http://b").server_index is None
    assert ap_client.Configuration("http://b").auth_settings() == {}


def test_what_the_client_logs_can_go_to_a_file(configuration: ap_client.Configuration, tmp_path: Path) -> None:
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    configuration.logger_format = "> %(message)s"
    configuration.logger_file = str(first)
    logging.getLogger("ap_client.x").warning("one")
    configuration.logger_file = str(second)
    logging.getLogger("ap_client.x").warning("two")
    configuration.logger_file = None
    logging.getLogger("ap_client.x").warning("three")
    assert (first.read_text(), second.read_text()) == ("> one\n", "> two\n")
    assert configuration.logger_file_handler is None


def test_a_copy_of_a_configuration_is_its_own(configuration: ap_client.Configuration) -> None:
    configuration.api_key["a"] = "1"
    made = copy.deepcopy(configuration)
    made.api_key["a"] = "2"
    assert configuration.api_key == {"a": "1"}
    assert made.logger["package_logger"] is configuration.logger["package_logger"]


@pytest.mark.parametrize("client", [ap_client.ApiClient, aio.ApiClient])
def test_both_clients_have_the_documented_methods(client: type) -> None:
    made = client(ap_client.Configuration(), "X-A", "1", "c=d")
    assert all(callable(getattr(made, name)) for name in CLIENT_METHODS.split())
    made.set_default_header("X-B", "2")
    made.user_agent = "me"
    assert made.default_headers == {"User-Agent": "me", "X-A": "1", "X-B": "2"}
    assert (made.cookie, made.client_side_validation) == ("c=d", True)
    names = ["configuration", "header_name", "header_value", "cookie", "http_client"]
    assert [*inspect.signature(client).parameters] == names


def test_the_default_client_is_one_and_can_be_set(server: FakeServer) -> None:
    before = ap_client.ApiClient.get_default()
    assert ap_client.ApiClient.get_default() is before is ap_client.RunsApi().api_client
    mine = server.client()
    try:
        ap_client.ApiClient.set_default(mine)
        assert ap_client.StoreApi().api_client is mine
    finally:
        ap_client.ApiClient.set_default(before)


def test_an_answer_has_the_documented_fields(server: FakeServer) -> None:
    answer = ap_client.BackgroundRunsApi(server.client()).get_run_with_http_info("r")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert isinstance(answer.data, Run)
    assert json.loads(answer.raw_data)["run_id"] == answer.data.run_id


def test_errors_are_a_tree() -> None:
    found = ap_client.exceptions
    for name in ["ApiTypeError", "ApiValueError", "ApiAttributeError", "ApiKeyError", "ApiException"]:
        assert issubclass(getattr(found, name), found.OpenApiException)
    for kind, builtin in {
        found.ApiTypeError: TypeError,
        found.ApiValueError: ValueError,
        found.ApiAttributeError: AttributeError,
        found.ApiKeyError: KeyError,
    }.items():
        assert issubclass(kind, builtin)
        assert kind("why", ["a", 0]).path_to_item == ["a", 0]
        assert str(kind("why")) == "why"
    assert ap_client.rest.ApiException is found.ApiException
    error = found.ApiException(404, "Not Found", body="b", data={"a": 1})
    assert (error.status, error.reason, error.body, error.data, error.headers) == (
        404, "Not Found", "b", {"a": 1}, None,
    )  # fmt: skip
    assert str(error) == "(404)\nReason: Not Found\nHTTP response body: {'a': 1}\n"


def test_an_error_made_from_an_answer_is_of_its_class(server: FakeServer) -> None:
    raw = ap_client.BackgroundRunsApi(server.client()).get_run_without_preload_content("r")
    raw.status = 409
    with pytest.raises(ap_client.exceptions.ConflictException) as caught:
        ap_client.ApiException.from_response(http_resp=raw, body="text", data=None)
    assert (caught.value.status, caught.value.body, caught.value.http_resp) == (409, "text", raw)
    assert caught.value.headers["content-type"] == "application/json"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_the_example_of_every_models_page_runs(model: type[Model]) -> None:
    """The pages read "{}", ask the class itself for JSON, and go to a dict and back."""
    instance = model.from_json("{}")
    assert json.loads(model.to_json())["title"] == model.__name__
    plain = instance.to_dict()
    assert plain == {}
    assert model.from_dict(plain) == instance
    assert model().to_dict() == {}, "a model without its required fields is refused when sent, not before"


def test_a_class_tells_its_schema_and_an_instance_its_values() -> None:
    assert StorePutRequest.to_dict() == {
        "title": "StorePutRequest",
        "type": "object",
        "properties": {
            "namespace": {"type": "array", "items": {"type": "string"}},
            "key": {"type": "string"},
            "value": {"type": "object"},
            "ttl": {"type": "number"},
            "index": {"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]},
        },
        "required": ["namespace", "key", "value"],
    }
    assert "ap.io.messages" in AgentCapabilities.to_str()
    assert AgentCapabilities.to_dict()["additionalProperties"] is True
    message = Message(role="user", content="x")
    assert (message.to_json(), message.to_str()) == (
        '{"role":"user","content":"x"}',
        "{'content': 'x', 'role': 'user'}",
    )


@pytest.mark.parametrize("wrapper", [Input, StreamMode, ap_client.Content, ap_client.StreamingCommandResponse])
def test_the_example_of_every_wrappers_page_runs(wrapper: type) -> None:
    instance = wrapper.from_json("{}")
    assert json.loads(wrapper.to_json())["title"] == wrapper.__name__
    assert wrapper.from_dict(instance.to_dict()) == instance


def test_examples_without_required_fields_fail_within_the_call(server: FakeServer) -> None:
    store = ap_client.StoreApi(server.client())
    for call, request in ((store.delete_item, StoreDeleteRequest()), (store.put_item, StorePutRequest())):
        with pytest.raises(ap_client.OpenApiException, match="key: is required"):
            call(request)
    assert server.requests == []
