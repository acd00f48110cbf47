"""Write the client's reference pages into docs/client/, one per class of the API, from the code itself.

`python tools/client_pages.py` writes them; with `--check` it fails, and names them, when they are not up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import ap_client
import ap_client.api
from ap_client.api.forms import Api
from ap_client.call import Call
from ap_client.model import Model

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "client"
STATUS_OF = {
    "BadRequestException": (400, "Bad Request"),
    "NotFoundException": (404, "Not Found"),
    "ConflictException": (409, "Conflict"),
}
EXAMPLES: dict[str, Any] = {
    "agent_id": "agent_id_example", "run_id": "run_id_example", "thread_id": "thread_id_example", "key": "key_example",
    "delivery_id": "delivery_id_example", "wait": False, "action": "interrupt", "limit": 10, "offset": 0,
    "before": "before_example", "namespace": ["namespace_example"],
}  # fmt: skip
# What stands in an example for a request that needs fields.
REQUESTS = {
    "EventStreamRequest": 'channels=["values"]',
    "StoreDeleteRequest": 'namespace=["namespace_example"], key="key_example"',
    "StorePutRequest": 'namespace=["namespace_example"], key="key_example", value={"a": 1}',
    "StreamingCommand": 'id=1, method="state.get"',
}
FORMS = ("_with_http_info", "_without_preload_content", "_events")
MEANINGS = {
    "action": "What becomes of what the run did: `interrupt` keeps it, `rollback` removes it.",
    "agent_id": "The id of the agent.",
    "before": "The id of a checkpoint: only what is older.",
    "delivery_id": "The id of the delivery.",
    "key": "The key of the item.",
    "limit": "The most to return.",
    "modes": "The events to yield: values, updates, messages, custom.",
    "namespace": "The namespace of the item, from its root on.",
    "offset": "How many to skip.",
    "reconnect": "Whether a connection that breaks is resumed.",
    "run_id": "The id of the run.",
    "since": "The id of an event: only what came after it.",
    "thread_id": "The id of the thread.",
    "wait": "Whether to return only when the run's code has stopped.",
}
AUTHORIZATION = "What the configuration holds, if anything: `access_token` as a bearer token, `api_key` as `X-API-Key`."
KINDS = {"since": "int", "modes": "list[str]", "reconnect": "bool"}
TABLE = ("Name | Type | Description | Notes", "------------- | ------------- | ------------- | -------------")


def operations(api: type[Api]) -> dict[str, Callable[..., Call[Any]]]:
    """The plain methods of a class, by name, as the pure functions that they are made of."""
    return {
        name: inspect.unwrap(method)
        for name, method in sorted(vars(api).items())
        if not name.startswith("_") and not name.endswith(FORMS)
    }


def iterators(api: type[Api]) -> dict[str, Callable[..., Any]]:
    """The methods of a class that yield events, by name."""
    found = {name: inspect.unwrap(method) for name, method in sorted(vars(api).items()) if name.endswith("_events")}
    return {name: method for name, method in found.items() if not name.startswith("_")}


def parameters(operation: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(operation).parameters
    return {name: each for name, each in found.items() if each.kind is not each.VAR_KEYWORD and name != "run_stream"}


def request_model(operation: Callable[..., Any], name: str) -> type[Model] | None:
    """The model that a parameter takes, where it takes one."""
    hints = get_args(get_type_hints(operation)[name])
    return next((each for each in hints if isinstance(each, type) and issubclass(each, Model)), None)


def sample(operation: Callable[..., Call[Any]]) -> Call[Any]:
    """The call that a method makes with the arguments of its example."""
    given = {name: {} if request_model(operation, name) else EXAMPLES[name] for name in parameters(operation)}
    return operation(**given)


def type_name(kind: Any) -> str:
    """A type as one writes it."""
    text = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
    return re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)


def returned(call: Call[Any]) -> str:
    return "" if call.returns is type(None) else type_name(call.returns)


def words_of(operation: Callable[..., Any]) -> str:
    return inspect.getdoc(operation) or ""


def literal(value: Any) -> str:
    """A value as the formatter of this project writes it."""
    return repr(value).replace("'", '"')


def example(api: str, name: str, operation: Callable[..., Call[Any]]) -> Iterator[str]:
    yield "import ap_client"
    yield "from pprint import pprint"
    yield ""
    yield 'configuration = ap_client.Configuration(host="http://localhost")'
    yield ""
    yield "with ap_client.ApiClient(configuration) as api_client:"
    yield f"    api_instance = ap_client.{api}(api_client)"
    arguments: list[str] = []
    for parameter in parameters(operation).values():
        model = request_model(operation, parameter.name)
        value = f"ap_client.{model.__name__}({REQUESTS.get(model.__name__, '')})" if model else None
        yield f"    {parameter.name} = {value or literal(EXAMPLES[parameter.name])}"
        optional = parameter.default is not parameter.empty and model is None
        arguments.append(f"{parameter.name}={parameter.name}" if optional else parameter.name)
    yield ""
    call = f"api_instance.{name}({', '.join(arguments)})"
    yield "    try:"
    if returned(sample(operation)):
        yield f"        api_response = {call}"
        yield f'        print("The response of {api}->{name}:\\n")'
        yield "        pprint(api_response)"
    else:
        yield f"        {call}"
    yield "    except ap_client.ApiException as e:"
    yield f'        print("Exception when calling {api}->{name}: %s\\n" % e)'


def details(operation: Callable[..., Call[Any]], call: Call[Any]) -> Iterator[tuple[int, str]]:
    """Status codes and what they mean: the success, what the method's own words name, and a refused field."""
    if "Upgrade" in call.headers:
        yield 101, "Switching Protocols"
    else:
        yield (200, "Success") if returned(call) else (204, "Success")
    codes = {STATUS_OF[name] for name in re.findall(r"\w+Exception", words_of(operation)) if name in STATUS_OF}
    if isinstance(call.body, ap_client.RunCreate):
        # An agent or thread that is unknown; a thread that is busy.
        codes |= {(404, "Not Found"), (409, "Conflict")}
    if call.path == "/store/items" and call.method == "GET":
        codes.add((400, "Bad Request"))
    if call.ids:
        codes.add((404, "Not Found"))
    yield from sorted(codes | {(422, "Validation Error")})


def page(api: type[Api]) -> str:
    """The page of one class."""
    name, found = api.__name__, operations(api)
    calls: Mapping[str, Call[Any]] = {each: sample(operation) for each, operation in found.items()}
    lines = [f"# ap_client.{name}", "", inspect.getdoc(api) or "", ""]
    lines += ["All URIs are relative to *http://localhost*", ""]
    lines += ["Method | HTTP request | Description", "------------- | ------------- | -------------"]
    for each, call in calls.items():
        sentence = words_of(found[each]).split("\n")[0]
        lines.append(f"[**{each}**]({name}.md#{each}) | **{call.method}** {call.path} | {sentence}")
    for each, iterator in iterators(api).items():
        sentence = words_of(iterator).split("\n")[0]
        lines.append(f"[**{each}**]({name}.md#{each}) | **{_followed(iterator)}** | {sentence}")
    for each, operation in found.items():
        lines += ["", *_section(name, each, operation, calls[each])]
    for each, iterator in iterators(api).items():
        lines += ["", *_iterator_section(name, each, iterator)]
    lines += ["", "[[Back to top]](#) [[Back to the client]](../client.md)"]
    return "\n".join(lines) + "\n"


def _section(api: str, name: str, operation: Callable[..., Call[Any]], call: Call[Any]) -> Iterator[str]:
    known = parameters(operation)
    optional = [each for each, parameter in known.items() if parameter.default is not parameter.empty]
    shown = [f"{each}={each}" if each in optional and each != "run_create" else each for each in known]
    yield f"## **{name}**"
    yield f"> {returned(call)} {name}({', '.join(shown)})".replace(">  ", "> ")
    yield ""
    yield words_of(operation)
    yield from ("", "### Example", "", "```python", *example(api, name, operation), "```")
    yield from ("", "### Parameters", "")
    yield from TABLE
    for each in known:
        model = request_model(operation, each)
        kind = model.__name__ if model else type_name(type(EXAMPLES[each]) if each != "namespace" else list[str])
        note = "a mapping is taken too" if model else "[optional]" if each in optional else ""
        meaning = _first_sentence(model) if model else MEANINGS[each]
        yield f" **{each}** | **{kind}** | {meaning} | {note}".rstrip()
    media = ", ".join(["application/json"] if call.body is not None else []) or "Not defined"
    yield from ("", "### Return type", "", f"**{returned(call)}**" if returned(call) else "void (empty response body)")
    yield from ("", "### Authorization", "", AUTHORIZATION)
    yield from ("", "### HTTP request headers", "", f" - **Content-Type**: {media}", f" - **Accept**: {call.accept}")
    yield from ("", "### HTTP response details", "")
    yield from ("| Status code | Description |", "|-------------|-------------|")
    yield from (f"**{code}** | {text} |" for code, text in details(operation, call))


def _followed(iterator: Callable[..., Any]) -> str:
    """The request that an iteration begins with."""
    creates = "run_create" in inspect.signature(iterator).parameters
    return "POST** /runs/stream" if creates else "GET** /runs/{run_id}/stream"


def _iterator_section(api: str, name: str, iterator: Callable[..., Any]) -> Iterator[str]:
    """A method that yields events as they happen."""
    first, *others = parameters(iterator)
    model = request_model(iterator, first)
    yield f"## **{name}**"
    yield f"> EventStream {name}({', '.join([first, *(f'{each}={each}' for each in others)])})"
    yield from ("", words_of(iterator), "", "### Example", "", "```python")
    yield from ("import ap_client", "", 'configuration = ap_client.Configuration(host="http://localhost")', "")
    yield "with ap_client.ApiClient(configuration) as api_client:"
    yield f"    api_instance = ap_client.{api}(api_client)"
    yield f"    {first} = {f'ap_client.{model.__name__}()' if model else literal(EXAMPLES[first])}"
    yield from ("", "    try:")
    yield f"        with api_instance.{name}({first}) as events:"
    yield "            for event in events:"
    yield "                print(event.id, event.event, event.data)"
    yield "    except ap_client.ApiException as e:"
    yield f'        print("Exception when calling {api}->{name}: %s\\n" % e)'
    yield from ("```", "", "### Parameters", "", *TABLE)
    kind, meaning = (model.__name__, _first_sentence(model)) if model else ("str", MEANINGS[first])
    yield f" **{first}** | **{kind}** | {meaning} |"
    for each in others:
        default = inspect.signature(iterator).parameters[each].default
        note = f"[optional] [default to {default}]"
        yield f" **{each}** | **{KINDS[each]}** | {MEANINGS[each]} | {note}"
    yield from ("", "### Return type", "", "**EventStream**: an iterator of events", "", "### Authorization", "")
    yield from (AUTHORIZATION, "", "### HTTP response details", "")
    yield from ("| Status code | Description |", "|-------------|-------------|", "**200** | Success |")
    yield "**404** | Not Found |"
    if model:
        yield "**409** | Conflict |"
    yield "**422** | Validation Error |"


def _first_sentence(model: type[Model]) -> str:
    return (inspect.getdoc(model) or "").split("\n")[0]


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    return {f"{name}.md": page(getattr(ap_client.api, name)) for name in ap_client.api.__all__}


def main() -> int:
    wanted = pages()
    if "--check" in sys.argv[1:]:
        there = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
        stale = sorted(name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name))
        if stale:
            print(f"docs/client is not up to date ({', '.join(stale)}): run `make client-pages`")
        return bool(stale)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.glob("*.md"):
        path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
