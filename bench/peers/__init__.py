"""LangGraph's dialect beside the servers that others make for it, on the same graphs."""
