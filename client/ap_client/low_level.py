"""The steps of a call one by one, under the names that the generated client gives them.

For code that calls routes which this client has no method for:

    request = client.param_serialize("GET", "/info", query_params=[("a", 1)])
    answer = client.call_api(*request)
    answer.read()
    info = client.response_deserialize(answer, {"200": "object"}).data
"""

import mimetypes
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlencode

import msgspec

from ap_client import models
from ap_client.api_response import ApiResponse
from ap_client.call import JSON, Request, apply_auth, is_json, timeout_pair
from ap_client.configuration import Configuration
from ap_client.conversion import encode, read
from ap_client.exceptions import ApiException, ApiValueError
from ap_client.version import __version__

Pairs = Mapping[str, Any] | Iterable[tuple[str, Any]]
Serialized = tuple[str, str, dict[str, str], Any, list[tuple[str, Any]]]
"""Method, URL, headers, body and form fields, as `call_api` takes them."""

FORM = "application/x-www-form-urlencoded"
_DELIMITERS = {"ssv": " ", "tsv": "\t", "pipes": "|"}
_NAMED_TYPES: Mapping[str, Any] = {
    "int": int, "float": float, "str": str, "bool": bool, "date": date, "datetime": datetime, "object": Any,
}  # fmt: skip


class LowLevel:
    """What the sync and the async client have in common: headers, and the steps that do no input and output."""

    client_side_validation: bool

    def __init__(
        self,
        configuration: Configuration | None,
        header_name: str | None,
        header_value: str | None,
        cookie: str | None,
        kind: str,
    ) -> None:
        self.configuration = Configuration.get_default() if configuration is None else configuration
        self.default_headers: dict[str, str] = {"User-Agent": f"runyard-client/{__version__} ({kind})"}
        if header_name is not None:
            self.default_headers[header_name] = header_value or ""
        self.cookie = cookie
        self.client_side_validation = self.configuration.client_side_validation

    @property
    def user_agent(self) -> str:
        """How this client names itself to servers."""
        return self.default_headers["User-Agent"]

    @user_agent.setter
    def user_agent(self, value: str) -> None:
        self.default_headers["User-Agent"] = value

    def set_default_header(self, header_name: str, header_value: str) -> None:
        """Send this header with every request."""
        self.default_headers[header_name] = header_value

    def select_header_accept(self, accepts: list[str]) -> str | None:
        """Of some media types the one to ask for: JSON where it is among them, else the first."""
        return next((each for each in accepts if re.search("json", each, re.IGNORECASE)), (accepts or [None])[0])

    def select_header_content_type(self, content_types: list[str]) -> str | None:
        """Of some media types the one to send: JSON where it is among them, else the first."""
        return self.select_header_accept(content_types)

    def sanitize_for_serialization(self, obj: Any) -> Any:
        """A value as JSON holds it: models, dates, enums and tuples become plain ones.

        Raises ApiValueError for what JSON cannot hold.
        """
        return msgspec.json.decode(encode(obj))

    def parameters_to_tuples(
        self, params: Pairs, collection_formats: Mapping[str, str] | None
    ) -> list[tuple[str, Any]]:
        """Parameters as pairs; lists by their format: `multi` repeats the name, csv, ssv, tsv and pipes join them."""
        formats, pairs = collection_formats or {}, list[tuple[str, Any]]()
        for name, value in cast("Mapping[str, Any]", params).items() if isinstance(params, Mapping) else params:
            if formats.get(name) == "multi":
                pairs += [(name, each) for each in value]
            elif name in formats:
                pairs.append((name, _DELIMITERS.get(formats[name], ",").join(map(str, value))))
            else:
                pairs.append((name, value))
        return pairs

    def parameters_to_url_query(self, params: Pairs, collection_formats: Mapping[str, str] | None) -> str:
        """Parameters as the query of a URL. Booleans are lower-case, objects JSON."""
        pairs = self.parameters_to_tuples(params, collection_formats)
        return urlencode([(name, _query_text(value)) for name, value in pairs], quote_via=quote)

    def files_parameters(self, files: Mapping[str, Any]) -> list[tuple[str, tuple[str, bytes, str]]]:
        """Files as form fields: a value is a path, bytes, a pair of name and bytes, or a list of those."""
        fields: list[tuple[str, tuple[str, bytes, str]]] = []
        for name, given in files.items():
            for each in cast("list[Any]", given) if isinstance(given, list) else [given]:
                if isinstance(each, str):
                    file_name, content = Path(each).name, Path(each).read_bytes()
                else:
                    file_name, content = cast("tuple[str, bytes]", each if isinstance(each, tuple) else (name, each))
                media = mimetypes.guess_type(file_name)[0] or "application/octet-stream"
                fields.append((name, (file_name, content, media)))
        return fields

    def update_params_for_auth(
        self,
        headers: dict[str, str],
        queries: list[tuple[str, str]] | None,
        auth_settings: Iterable[str] | None,
        resource_path: str,
        method: str,
        body: Any,
        request_auth: Mapping[str, Any] | None = None,
    ) -> None:
        """Put credentials into the headers or the query: those of the request, else the named configured ones.

        `resource_path`, `method` and `body` are there for schemes that sign them; the protocol has none.
        """
        configured = self.configuration.auth_settings()
        wanted = [configured[name] for name in auth_settings or () if name in configured]
        for auth in [request_auth] if request_auth else wanted:
            apply_auth(auth, headers, [] if queries is None else queries)

    def param_serialize(
        self,
        method: str,
        resource_path: str,
        path_params: Pairs | None = None,
        query_params: Pairs | None = None,
        header_params: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Pairs | None = None,
        files: Mapping[str, Any] | None = None,
        auth_settings: Iterable[str] | None = None,
        collection_formats: Mapping[str, str] | None = None,
        _host: str | None = None,
        _request_auth: Mapping[str, Any] | None = None,
    ) -> Serialized:
        """The request that these parameters mean. `auth_settings`: the configured credentials if not given."""
        headers = {**(header_params or {}), **self.default_headers}
        if self.cookie:
            headers["Cookie"] = self.cookie
        path = resource_path
        for name, value in self.parameters_to_tuples(path_params or {}, collection_formats):
            path = path.replace("{" + name + "}", quote(str(value), safe=self.configuration.safe_chars_for_path_param))
        form = self.parameters_to_tuples(post_params or {}, collection_formats) + self.files_parameters(files or {})
        query = self.parameters_to_tuples(query_params or {}, collection_formats)
        named = self.configuration.auth_settings() if auth_settings is None else auth_settings
        self.update_params_for_auth(headers, query, named, path, method, body, _request_auth)
        use_own = _host is None or self.configuration.ignore_operation_servers
        url = (self.configuration.host if use_own else _host or "").rstrip("/") + path
        if query:
            url += "?" + self.parameters_to_url_query(query, None)
        return method, url, headers, None if body is None else self.sanitize_for_serialization(body), form

    def deserialize(self, response_text: str, response_type: str, content_type: str | None) -> Any:
        """The value that a text holds. `response_type` is the name of a type, such as `Run` or `List[Run]`.

        Raises ApiValueError for text that is not JSON although it says so, or a type that is not known.
        """
        media = (content_type or "").partition(";")[0].strip().lower()
        if media.startswith("text/"):
            return response_text
        if content_type is not None and not is_json(media):
            raise ApiException(0, f"unsupported content type: {content_type}")
        if content_type is not None and not response_text:
            return ""
        try:
            value = msgspec.json.decode(response_text)
        except msgspec.DecodeError as error:
            if content_type is None:
                return response_text
            raise ApiValueError(f"not JSON: {error}") from error
        return read(_type_named(response_type), value)

    def response_deserialize(
        self, response_data: Any, response_types_map: Mapping[str, str | None] | None = None
    ) -> ApiResponse[Any]:
        """The value of an answer that was read. `response_types_map`: status code, or `4XX`, to the name of a type.

        Raises the ApiException of its status code outside 2xx.
        """
        status, known = response_data.status, response_types_map or {}
        wanted = known.get(str(status)) or known.get(f"{status // 100}XX")
        content: bytes = response_data.data
        text, data = None, None
        try:
            if wanted in ("bytearray", "file"):
                data = content
            elif wanted is not None:
                text = content.decode("utf-8", "replace")
                data = self.deserialize(text, wanted, response_data.getheader("content-type"))
        finally:
            if not 200 <= status <= 299:
                raise ApiException.from_response(http_resp=response_data, body=text, data=data)
        return ApiResponse(status, response_data.getheaders(), data, content)


def request_of(
    method: str,
    url: str,
    header_params: Mapping[str, str] | None,
    body: Any,
    post_params: Pairs | None,
    timeout: Any,
) -> Request:
    """What `call_api` sends: JSON, or a form where there are form fields and no body.

    Raises ApiValueError for files: no route of the protocol takes any.
    """
    headers, content = dict(header_params or {}), None
    if body is not None:
        content = body if isinstance(body, bytes) else encode(body)
        headers.setdefault("Content-Type", JSON)
    elif post_params:
        pairs = cast("Mapping[str, Any]", post_params).items() if isinstance(post_params, Mapping) else post_params
        fields = list(pairs)
        if any(isinstance(value, tuple) for _, value in fields):
            raise ApiValueError("files cannot be sent: no route of the protocol takes any")
        content = urlencode(fields).encode()
        headers.setdefault("Content-Type", FORM)
    return Request(method, url, headers, content, timeout_pair(timeout))


def _query_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return encode(value).decode() if isinstance(value, dict) else str(value)


def _type_named(name: str) -> Any:
    listed = re.fullmatch(r"[Ll]ist\[(.*)\]", name)
    if listed:
        return list[_type_named(listed[1])]
    if re.fullmatch(r"[Dd]ict\[.*\]", name):
        return dict[str, Any]
    found = _NAMED_TYPES.get(name) or getattr(models, name, None)
    if found is None:
        raise ApiValueError(f"{name!r} is not the name of a type")
    return found
