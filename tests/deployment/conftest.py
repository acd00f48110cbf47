"""These tests serve projects with a `langgraph.json` in their own process."""

from projects import guard, serve, write

__all__ = ["guard", "serve", "write"]
