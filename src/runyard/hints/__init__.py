"""Messages that something may have changed: a contract, a file per technology. Losing one costs latency only."""
