"""Thread streams (the streaming protocol) over SSE and over WebSockets, beside bare streams of the same frames."""
