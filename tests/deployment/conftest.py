"""These tests serve projects with a `langgraph.json` in their own process."""

from projects import serve, write

__all__ = ["serve", "write"]
