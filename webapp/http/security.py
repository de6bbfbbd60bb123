"""Access control and security headers of every response: head, token, Host and Origin. One ASGI middleware."""

import base64
import binascii
import secrets
from urllib.parse import urlsplit

from fastapi import Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.http.client_limits import WRONG, Budget, WrongTokens, sender
from webapp.http.problem_responses import Problem, defect, respond
from webapp.settings import Settings, is_loopback

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# For the image viewers of browsers, which style the image inline.
OF_IMAGES = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'"
STORED = "private, max-age=300"  # for files in static/; browsers do not store other responses
MOST = 256  # requests at one time
HEAD_BYTES = 32_768  # of the first line and all headers of a request
OPEN = ("/healthz", "/readyz")  # need no token: for supervisors, show nothing of the runs


class Guard:
    """Refuse requests that are not allowed, and add the security headers to every response."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.served, self.wrong = Budget(MOST, "requests"), WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "websocket":  # not supported
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        begun = False

        async def with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                given = {name.lower() for name, _ in message["headers"]}
                kept = (
                    STORED if scope["path"].startswith("/static/") and message["status"] in (200, 304) else "no-store"
                )
                wanted = HEADERS | {"Cache-Control": kept}
                if dict(message["headers"]).get(b"content-type") == b"image/png":
                    wanted["Content-Security-Policy"] = OF_IMAGES
                extra = [(n.lower().encode(), v.encode()) for n, v in wanted.items() if n.lower().encode() not in given]
                message = message | {"headers": [*message["headers"], *extra]}
            await send(message)

        request = Request(scope)
        # Routes answer GET; uvicorn sends the headers of the response alone to HEAD.
        inner = scope | {"method": "GET"} if request.method == "HEAD" else scope
        try:
            self._check(request)
            with self.served.share(sender(scope), 1):
                await self.app(inner, receive, with_headers)
        except Problem as problem:
            await self._refuse(request, problem)(scope, receive, with_headers)
        except Exception as error:
            if begun:  # the response has started; uvicorn closes the connection
                raise
            await defect(request, error)(scope, receive, with_headers)
        finally:
            scope["route"] = inner.get("route")

    def _refuse(self, request: Request, problem: Problem) -> Response:
        response = respond(request, problem)
        if problem.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="LeukoBench", charset="UTF-8"'
        if problem.status in (400, 431):  # nobody knows where the next request begins
            response.headers["Connection"] = "close"
        return response

    def _check(self, request: Request) -> None:
        """Raise a Problem for a request that is not served."""
        names = [name for name, _ in request.headers.raw]
        if b"content-length" in names and b"transfer-encoding" in names:
            # RFC 9112, 6.1: proxies may see another end of this request, and so another next one.
            raise Problem(
                400, "Two lengths", "Received Content-Length and Transfer-Encoding. Valid: one of them; send one."
            )
        if _head_bytes(request.scope) > HEAD_BYTES:
            raise Problem(
                431, "Head too large", f"The first line and all headers may have {HEAD_BYTES:,} bytes. Send fewer."
            )
        host = request.headers.get("host", "")
        if self.settings.loopback and not is_loopback(_name(host)):
            # Another site's name may resolve to this machine (DNS rebinding).
            raise Problem(421, "Wrong host", f"Received the host '{host[:80]}'. Valid: localhost and 127.0.0.1.")
        if self.settings.token and request.url.path not in OPEN:
            self._check_token(request)
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin is not None and _place(origin) != host:
            raise Problem(403, "Foreign page", "Uploads are accepted from this server's own pages only.")

    def _check_token(self, request: Request) -> None:
        client = sender(request.scope)
        pause = self.wrong.pause(client)
        if pause:
            raise Problem(
                429, "Too many wrong tokens", f"Received {WRONG} wrong tokens. Try again in {pause} seconds.", pause
            )
        if self._known(request):
            self.wrong.forget(client)
            return
        if "authorization" in request.headers:
            self.wrong.add(client)
        raise Problem(
            401,
            "Token needed",
            "Send the server's token: as the password your browser asks for (any name), or as the header "
            "'Authorization: Bearer TOKEN'.",
        )

    def _known(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode("utf-8").partition(":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != "bearer":
            return False
        else:
            given = given.encode("latin-1").decode("utf-8", "replace")  # headers were decoded as latin-1
        return secrets.compare_digest(given.strip().encode(), self.settings.token.encode())


def _head_bytes(scope: Scope) -> int:
    """Return the size of a request's first line and headers."""
    first = (scope["method"], scope.get("raw_path") or b"", scope["query_string"], "  HTTP/1.1\r\n\r\n")
    headers = (len(name) + len(value) + len(": \r\n") for name, value in scope["headers"])
    return sum(map(len, first)) + sum(headers)


def _place(origin: str) -> str | None:
    """Return host and port of an Origin header; None where it is invalid."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _name(host: str) -> str:
    """Return the host name of a Host header without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
