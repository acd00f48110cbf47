"""The streaming protocol: a thread's events over SSE and WebSocket, its commands over both transports."""
