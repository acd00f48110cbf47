"""These tests talk to a whole server in their own process."""

from live_fixtures import clock, server

__all__ = ["clock", "server"]
