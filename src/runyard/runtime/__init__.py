"""Agents: loading them from user code and running them, behind plain-data messages."""
