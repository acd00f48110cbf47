"""Graphs of LangGraph as agents. Imported only where such an agent is loaded: LangGraph is an extra."""
