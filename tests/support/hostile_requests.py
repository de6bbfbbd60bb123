"""Requests of the hostile tests, and checks of every response."""

import io
import json
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from utils.paths import PROJECT

HEADERS = {
    "content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy",
    "cross-origin-opener-policy", "cross-origin-resource-policy", "permissions-policy", "cache-control",
}  # fmt: skip
SCRIPT = "<script>alert(1)</script>"
TOKEN = "a token with spaces and ünïcode"
MOST = 100_000  # bytes of a response that are checked


def large():
    """Return an image file of more than 1 MB."""
    pixels = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


class Page(HTMLParser):
    """Collects active content and foreign links of a page."""

    def __init__(self, text):
        super().__init__()
        self.bad = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        held = dict(attributes)
        self.bad += [f"<{tag} {name}>" for name in held if name.startswith("on") or name == "style"]
        if tag in ("iframe", "object", "embed", "base") or (
            tag == "script" and not held.get("src", "").startswith("/static/")
        ):
            self.bad.append(f"<{tag} {held}>")
        for name in ("href", "src", "action", "formaction"):
            if re.match(r"\s*(javascript|vbscript|data:text/html|//|https?:)", held.get(name) or "", re.I):
                self.bad.append(f"<{tag} {name}={held[name]}>")


def sound(server, status, headers, body, method="GET"):
    """Check the security headers and the format of a response."""
    names = {name.lower() for name, _ in headers}
    values = {name.lower(): value for name, value in headers}
    text = body[:MOST].decode("utf-8", "replace")
    assert status < 500 or (status == 503 and "retry-after" in names), (status, text[:300])
    assert names >= HEADERS, (status, HEADERS - names, text[:200])
    policy = values["content-security-policy"]
    if values.get("content-type", "").startswith("image/"):  # browsers lay an image out with a style of their own
        policy = policy.replace("style-src 'unsafe-inline'", "")
    assert "unsafe" not in policy
    assert "default-src 'none'" in values["content-security-policy"]
    assert "set-cookie" not in names and "server" not in names
    folders = str(PROJECT), f"{tempfile.gettempdir()}/", f"{Path.home()}/"
    for secret in ("Traceback", 'File "', "site-packages", *folders):
        assert secret not in text, (secret, text[:500])
    kind = values.get("content-type", "")
    if kind.startswith("text/html"):
        assert not Page(text).bad, Page(text).bad
    if status >= 400 and kind.startswith("application/") and method != "HEAD":
        assert kind == "application/problem+json"
        problem = json.loads(body)
        assert problem["status"] == status and problem["title"] and problem["detail"], problem


def sound_response(server, response):
    """Check the security headers and the format of a response of httpx."""
    sound(server, response.status_code, response.headers.multi_items(), response.content)


def parsed(answer, method="GET"):
    """Split the first answer in raw bytes into status, headers and body."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), len(rest))
    return int(first.split()[1]), headers, b"" if method == "HEAD" else rest[:length]


def attack(server, content, end=False, seconds=20.0):
    """Send raw bytes; return the status, or None where the server closed without a response."""
    answer = server.raw(content, seconds, end)
    if not answer:
        return None
    method = content[:4].decode("latin-1").strip()
    status, headers, body = parsed(answer, method)
    if b"Invalid HTTP request received." not in body:  # what is no HTTP never reaches the application
        sound(server, status, headers, body, method)
    return status


def request(method="GET", path="/", *headers, body=b"", host="localhost"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def part(name, content, filename=None):
    file = b"" if filename is None else b'; filename="' + filename + b'"'
    return b'--x\r\nContent-Disposition: form-data; name="' + name + b'"' + file + b"\r\n\r\n" + content + b"\r\n"


def form(*parts, end=b"--x--\r\n", kind="multipart/form-data; boundary=x", path="/api/v1/predict", headers=()):
    body = b"".join(parts) + end
    length = () if any("ength" in each or "ncoding" in each for each in headers) else (f"Content-Length: {len(body)}",)
    return request("POST", path, f"Content-Type: {kind}", *length, *headers, body=body)
