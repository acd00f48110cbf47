"""The streaming protocol: how a thread's log is told on the wire, and what clients may ask for. Pure: no I/O."""
