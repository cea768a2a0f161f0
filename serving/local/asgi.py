"""The REST interface as an ASGI application: bodies are unpacked and limited here, then answered in a thread."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.local.rest import Answer, RestApi, error_body

logger = logging.getLogger(__name__)

# A body beyond the limit is read and thrown away to its end, so that a client that sends before it listens gets its answer and not a
# connection that was reset; up to here, since one may be endless.
_MOST_BYTES_READ = 2**33
_MOST_LOGGED = 500  # bytes of an error's body


class BodyTooLargeError(Exception):
    """The body, packed or unpacked, is beyond the limit."""


def application(api: RestApi, max_body_bytes: int, log_requests: bool = False) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    """An ASGI application for HTTP.

    Args:
        api: gives the answers.
        max_body_bytes: most bytes of a body, also once unpacked; more are answered with 413. The real server has no such limit.
        log_requests: whether to log a line a request: verb, path, code, bytes in and out, milliseconds, and the message of an error.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"The scope must be http. Received: {scope['type']}.")
        request, body, begun = Request(scope, receive), b"", time.perf_counter()
        path = scope["raw_path"].decode("latin-1").partition("?")[0]
        try:
            body = await _read_body(request, max_body_bytes)
            found = await run_in_threadpool(api.answer, request.method, path, body, "origin" in request.headers)
        except BodyTooLargeError:
            found = Answer(413, error_body(f"The body must hold at most {max_body_bytes} bytes (a limit of the local server, --max-body-bytes)."))
        except zlib.error as error:
            found = Answer(400, error_body(f"A body with Content-Encoding gzip must be gzip. Received: {error}."))
        except ClientDisconnect:
            if log_requests:
                logger.info("%s %s: the client went away", request.method, path)
            return
        if log_requests:
            wrong = "" if found.code == 200 else f": {found.body[:_MOST_LOGGED].decode('utf-8', 'replace')!r}"
            sent = int(request.headers.get("content-length", len(body)))
            milliseconds = 1000 * (time.perf_counter() - begun)
            logger.info("%s %s %d, %d bytes in, %d out, %.1f ms%s", request.method, path, found.code, sent, len(found.body), milliseconds, wrong)
        await Response(found.body, found.code, media_type=None, headers={"Content-Type": found.content_type})(scope, receive, send)

    return answer


async def _read_body(request: Request, limit: int) -> bytes:
    if "100-continue" in request.headers.get("expect", "").lower() and int(request.headers.get("content-length", 0)) > limit:
        raise BodyTooLargeError  # this client asks before it sends
    packed = "gzip" in request.headers.get("content-encoding", "").lower()
    unpack = zlib.decompressobj(wbits=31) if packed else None
    parts, size, received = [], 0, 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            if received > _MOST_BYTES_READ:
                break
            continue
        part = unpack.decompress(chunk, limit + 1 - size) if unpack else chunk  # one byte too many is enough to know
        size += len(part)
        if size > limit:
            received = limit + 1
        parts.append(part)
    if received > limit:
        raise BodyTooLargeError
    if unpack and not unpack.eof:
        raise zlib.error("an incomplete stream")
    return b"".join(parts)
