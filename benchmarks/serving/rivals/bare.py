"""The least that uvicorn can do: read the body, answer a text that is as long as a real answer to one record."""

from typing import Any

ANSWER = b'{"model":"late-flights","predictions":[' + b" " * 150 + b"]}"
HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})
