"""The dialect of the LangGraph server API: the same engine, told in its words. Nothing is run from here."""
