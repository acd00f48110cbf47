"""The load: keep-alive connections that send the same request again and again, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
import time


async def connection(port: int, request: bytes, until: float, took: list[float]) -> None:
    """One connection: a request after the other until the time is over; seconds of each go to `took`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until:
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
            raise RuntimeError(head.decode())
        _, known, rest = head.lower().partition(b"content-length: ")
        if known:
            await reader.readexactly(int(rest.split(b"\r\n")[0]))
        elif not head.startswith(b"HTTP/1.1 204"):  # a wait that lasted is answered in chunks, as streams are
            await reader.readuntil(b"\r\n0\r\n\r\n")
        took.append(time.perf_counter() - begun)
    writer.close()


async def main(port: int, path: str, body: str, concurrency: int, seconds: float, method: str = "POST") -> None:
    payload = body.encode()
    request = (
        f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"content-length: {len(payload)}\r\n\r\n"
    ).encode() + payload
    took: list[float] = []
    begun = time.perf_counter()
    await asyncio.gather(*(connection(port, request, begun + seconds, took) for _ in range(concurrency)))
    spent = time.perf_counter() - begun
    took.sort()
    print(
        json.dumps(
            {
                "count": len(took),
                "per_second": len(took) / spent,
                "p50_ms": took[len(took) // 2] * 1e3,
                "p99_ms": took[int(len(took) * 0.99)] * 1e3,
            }
        )
    )


if __name__ == "__main__":
    import uvloop

    port, path, body, concurrency, seconds, *method = sys.argv[1:]
    uvloop.run(main(int(port), path, body, int(concurrency), float(seconds), *method))
