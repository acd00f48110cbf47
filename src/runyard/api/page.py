"""The page at /docs: the OpenAPI document as plain HTML, without a script and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

import msgspec

from runyard.api.problems import Headers

Json = dict[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre, summary { font-family: ui-monospace, monospace; font-size: .9em; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
summary span { font-family: system-ui, sans-serif; opacity: .7; float: right; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); }
pre { overflow: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 6px; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

HEADERS: Headers = [
    (b"content-type", b"text/html; charset=utf-8"),
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        b"style-src 'sha256-" + _STYLE_HASH.encode() + b"'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


def render(document: Json) -> bytes:
    """The page for an OpenAPI document, UTF-8."""
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    sections = (f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in by_tag.items())
    schemas = (
        f'<details id="{escape(name)}"><summary>{escape(name)}</summary>{_json(schema)}</details>'
        for name, schema in sorted(document["components"]["schemas"].items())
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])} For programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>{"".join(sections)}<h2>Schemas</h2>{"".join(schemas)}'
        "</body></html>"
    ).encode()


def _operation(path: str, method: str, operation: Json) -> str:
    parts = [f"<summary><b>{method.upper()}</b> {escape(path)} <span>{escape(operation['summary'])}</span></summary>"]
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{escape(p['name'])}</code></td><td>{p['in']}</td>"
            f"<td><code>{escape(_brief(p['schema']))}</code></td><td>{escape(p.get('description', ''))}</td></tr>"
            for p in operation["parameters"]
        )
        parts.append(f"<table>{rows}</table>")
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        parts.append(f"<p>Body: {_link(schema)}</p>")
    rows = "".join(
        f"<tr><td><code>{status}</code></td><td>{escape(response['description'])}</td><td>{_content(response)}</td></tr>"
        for status, response in operation["responses"].items()
    )
    parts.append(f"<table>{rows}</table>")
    return f"<details>{''.join(parts)}</details>"


def _content(response: Json) -> str:
    return " ".join(
        f"{escape(media)}: {_link(described['schema'])}" for media, described in response.get("content", {}).items()
    )


def _link(schema: Json) -> str:
    name: str | None = schema.get("$ref")
    if name is not None:
        name = escape(name.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "items" in schema and "$ref" in schema["items"]:
        return f"list of {_link(schema['items'])}"
    return f"<code>{escape(_brief(schema))}</code>"


def _brief(schema: Json) -> str:
    return msgspec.json.encode({k: v for k, v in schema.items() if k != "description"}).decode()


def _json(schema: Json) -> str:
    return f"<pre>{escape(msgspec.json.format(msgspec.json.encode(schema), indent=2).decode())}</pre>"
