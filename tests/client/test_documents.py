"""Models and methods against the protocol's two documents, field by field and argument by argument."""

from __future__ import annotations

import inspect
import json
from typing import Any

import ap_client
import protocol_documents as documents
import pytest
from ap_client.json_schema import object_schema

ALL_MODELS = [(version, model) for version in documents.VERSIONS for model in documents.models(version).values()]
ALL_OPERATIONS = [(version, each) for version in documents.VERSIONS for each in documents.operations(version).values()]

WISHES = {
    "after_seconds", "checkpoint", "command", "multitask_strategy",
    "context", "interrupt_before", "interrupt_after", "durability", "stream_subgraphs",
}  # fmt: skip
EXTENSIONS = {
    "Item": {"score"},
    "Message": {"name"},
    "Run": {*WISHES, "outcome", "attempt", "error"},
    "RunCreate": WISHES,
    "RunStream": WISHES,
    "RunWaitResponse": {"status", "error", "interrupts"},
    "StorePutRequest": {"ttl", "index"},
    "StoreSearchRequest": {"query"},
    "Thread": {"interrupts"},
    "ThreadState": {"created_at", "parent_checkpoint", "interrupts"},
}
"""What Runyard adds."""

_SAMPLES: dict[str, tuple[list[Any], list[Any]]] = {
    # values that a type allows, and that it does not
    "str": (["x"], [3, True, ["x"]]),
    "uuid": (["22222222-2222-4222-8222-222222222222"], [3]),
    "time": (["2025-04-16T18:23:20+00:00"], [3]),
    "int": ([7], ["7", True, 7.5]),
    "bool": ([True], ["yes"]),
    "object": ([{"a": 1}], [3, [1]]),
    "any": ([{"a": 1}, [1], "x", 3, True], []),
    "list[str]": ([["a"]], ["a", [3]]),
    "list[list[str]]": ([[["a"], []]], ["a", ["a"]]),
    "list[Message]": ([[{"role": "user", "content": "hi"}]], [[{"role": "user"}], "hi"]),
    "list[Item]": ([[]], [3]),
    "AgentCapabilities": ([{"ap.io.messages": True}], [3]),
    "Config": ([{"tags": ["a"]}], [3, {"tags": "a"}]),
    "Run": ([{"run_id": "r"}], [3]),
    "ThreadCheckpoint": ([{"checkpoint_id": "22222222-2222-4222-8222-222222222222"}], [3, {}]),
    "StreamingSuccessResponseMeta": ([{"appliedThroughSeq": 1}], [3]),
    "int | null": ([3, None], ["3"]),
    "list[str] | null": ([["a"], None], ["a"]),
    "object | null": ([{"a": 1}, None], [3]),
    "str | list[MessageTextBlock | MessageAnyBlock]": (
        ["x", [{"type": "text", "text": "x"}, {"type": "image", "url": "u"}]],
        [3, [{"text": "x"}]],
    ),
    "{values messages updates custom} | list[{values messages updates custom}]": (["values", ["values"]], [3]),
    "RunStatus": (["pending", "error", "success", "timeout", "interrupted"], [3]),
    "ThreadStatus": (["idle", "busy", "interrupted", "error"], [3]),
}


def samples(kind: str) -> tuple[list[Any], list[Any]]:
    if kind.startswith('"'):
        return [kind[1:-1]], ["another"]
    if kind.startswith("{") and kind.endswith("}") and "|" not in kind:
        return kind[1:-1].split(), ["another", 3]
    return _SAMPLES[kind]


def named(pair: Any) -> str:
    return pair if isinstance(pair, str) else pair.name


@pytest.mark.parametrize(("version", "model"), ALL_MODELS, ids=named)
def test_a_model_has_the_documented_fields(version: str, model: documents.DocumentedModel) -> None:
    schema = object_schema(getattr(ap_client, model.name))
    old, new = (documents.models(each).get(model.name) for each in documents.VERSIONS)
    both = {name for each in (old, new) if each is not None for name in each.fields}
    stream_mode = {"stream_mode"} if model.name == "RunCreate" else set()
    assert set(schema["properties"]) == both | EXTENSIONS.get(model.name, set()) | stream_mode
    for field in model.fields.values():
        told = schema["properties"][field.name]
        assert told.get("minimum", told.get("minItems")) == field.at_least, field.name
        assert told.get("maximum", told.get("maxItems")) == field.at_most, field.name
    if not model.name.startswith("Run"):
        assert set(schema.get("required", [])) == {name for name, field in model.fields.items() if field.required}
    if model.open:
        assert schema["additionalProperties"] is True


@pytest.mark.parametrize(("version", "model"), ALL_MODELS, ids=named)
def test_a_field_takes_what_is_documented_and_nothing_else(version: str, model: documents.DocumentedModel) -> None:
    cls = getattr(ap_client, model.name)
    for field in model.fields.values():
        # The old document requires a status and does not say what it is.
        good, bad = samples("RunStatus" if field.name == "status" and field.kind == "any" else field.kind)
        for value in good:
            made = cls.from_dict({field.name: value})
            assert [why for path, why in made.problems() if path == (field.name,)] == [], (field.name, value)
            assert json.loads(made.to_json()) == {field.name: value}
        for value in bad:
            found = [path for path, why in cls.from_dict({field.name: value}).problems() if why != "is required"]
            inner = [path for path, _ in cls.from_dict({field.name: value}).problems() if len(path) > 1]
            assert field.name in {path[0] for path in found + inner}, (field.name, value)


@pytest.mark.parametrize(("version", "operation"), ALL_OPERATIONS, ids=named)
def test_a_method_takes_the_documented_arguments(version: str, operation: documents.DocumentedOperation) -> None:
    method = getattr(getattr(ap_client, operation.api), operation.name)
    body = "".join("_" + each.lower() if each.isupper() else each for each in operation.body).lstrip("_")
    wanted = [*operation.ids, *(field.name for field in operation.query), *([body] if body else [])]
    names = [name for name in inspect.signature(method).parameters if name != "options"]
    # The wish for a run has two names, one of each version.
    if body in ("run_create", "run_stream") and "run_stream" in names:
        assert names == ["run_create", "run_stream"]
    else:
        assert names == wanted


def test_all_operations_of_both_documents_are_there() -> None:
    assert {version: len(documents.operations(version)) for version in documents.VERSIONS} == {"old": 24, "new": 27}
