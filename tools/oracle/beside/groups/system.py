"""The server itself, and what HTTP has beside the operations."""

from __future__ import annotations

from tools.oracle.beside.talk import Talk


def script(talk: Talk) -> None:
    for path in ("/ok", "/ok?check_db=1", "/", "/info", "/metrics?format=json"):
        talk.ask(path, "GET", path)
    for path in ("/ok", "/info", "/threads/search", "/nothing", "/docs"):
        talk.ask(f"HEAD {path}", "HEAD", path)
    talk.ask("unknown path", "GET", "/nothing")
    talk.ask("unknown method", "PUT", "/threads/search", {})
    talk.ask("unknown method of a run", "PATCH", "/runs/wait", {})
    talk.ask("trailing slash", "POST", "/threads/", {})
    talk.ask("OPTIONS", "OPTIONS", "/threads")
    browser = {"Origin": "https://app.example.com"}
    wants = {**browser, "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "content-type,x-api-key"}  # fmt: skip
    talk.ask("preflight", "OPTIONS", "/threads", headers=wants)
    talk.ask("from a page", "POST", "/threads/search", {"limit": 1, "metadata": {"none": 1}}, headers=browser)
    talk.ask("refused to a page", "GET", "/threads/x", headers=browser)
