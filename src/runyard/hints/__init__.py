"""Messages that something may have changed: one contract, a file per technology. Losing one costs latency, never truth."""
