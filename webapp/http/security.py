"""Access control and security headers of every response: token, Host and Origin. One ASGI middleware."""

import base64
import binascii
import secrets
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.http.problem_responses import Problem, busy, defect, respond
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
OPEN = ("/healthz",)  # needs no token: for supervisors, shows nothing of the runs


class Guard:
    """Refuse requests that are not allowed, and add the security headers to every response."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings, self.served = app, settings, 0

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
        problem = self._refused(request)
        if problem is None:
            self.served += 1
            try:
                await self.app(scope, receive, with_headers)
            except Exception as error:
                if begun:  # the response has started; uvicorn closes the connection
                    raise
                await defect(request, error)(scope, receive, with_headers)
            finally:
                self.served -= 1
            return
        response = respond(request, problem)
        if problem.status == 401:
            response.headers["WWW-Authenticate"] = 'Basic realm="LeukoBench", charset="UTF-8"'
        await response(scope, receive, with_headers)

    def _refused(self, request: Request) -> Problem | None:
        host = request.headers.get("host", "")
        if self.settings.loopback and not is_loopback(_name(host)):
            # Another site's name may resolve to this machine (DNS rebinding).
            return Problem(421, "Wrong host", f"Received the host '{host[:80]}'. Valid: localhost and 127.0.0.1.")
        if self.served >= MOST:
            return busy("requests")
        if self.settings.token and request.url.path not in OPEN and not self._known(request):
            return Problem(
                401,
                "Token needed",
                "Send the server's token: as the password your browser asks for (any name), or as the header "
                "'Authorization: Bearer TOKEN'.",
            )
        origin = request.headers.get("origin")
        if request.method not in ("GET", "HEAD") and origin is not None and _place(origin) != host:
            return Problem(403, "Foreign page", "Uploads are accepted from this server's own pages only.")
        return None

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
