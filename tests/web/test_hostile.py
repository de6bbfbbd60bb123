"""Hostile requests with paths, hosts, forms and file names: no 5xx, no leak, no path traversal."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from hostile_requests import SCRIPT, attack, form, parsed, part, request, sound

pytest_plugins = ["hostile_servers"]


PAYLOADS = (
    "..", "../..", "../../../../../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "..%252f..%252fetc%252fpasswd",
    "%2e%2e%2f%2e%2e%2fetc/passwd", "%2e%2e", "%252e%252e", "....//....//etc/passwd", "..%5c..%5cwindows%5cwin.ini",
    "..\\..\\windows\\win.ini", "C:%5cwindows%5cwin.ini", "C:/windows/win.ini", "%5c%5chost%5cshare", "//etc/passwd",
    "%2fetc%2fpasswd", "file:///etc/passwd", "%00", "a%00.png", "..%00/", "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "%ff%fe", "%ed%a0%80", "%e2%80%ae", "%f0%9f%92%a9", "%0d%0aSet-Cookie:%20a=b", "%0a%0d%0a<html>", "%", "%zz",
    "%2", "a" * 5_000, "%2e" * 3_000, "a/" * 2_000, quote(SCRIPT), quote("\"'><img src=x onerror=alert(1)>"),
    "{{7*7}}", "${7*7}", "%7b%7b7*7%7d%7d", "$(id)", "`id`", ";id", "|id", "'%20OR%20'1'='1", "-1",
    "99999999999999999999", "1e309", "NaN", "0x10", "%20", "+", "*", "~", "~root", ".env", ".git/config", "con",
    "nul", "con.png",
)  # fmt: skip
PATHS = (
    "/{}", "/static/{}", "/samples/{}.png", "/runs/{}", "/runs/{}/{}", "/runs/cnn/{}", "/runs/cnn/{}/cell",
    "/runs/{}/{}/figures/{}.png", "/runs/RUN/figures/{}.png", "/runs/RUN/figures/{}", "/runs/RUN/images/{}.png",
    "/runs/RUN/images/{}/heatmap.png", "/runs/RUN/images/0/heatmap.png?method={}", "/runs/RUN/cell?true={}",
    "/runs/RUN/cell?true=0&predicted={}", "/runs/RUN/cell?method={}", "/runs/RUN/cell?page={}", "/compare?sort={}",
    "/compare?order={}", "/versus?a={}&b={}", "/versus?a=RUN&b=RUN&show={}", "/versus?page={}", "/api/v1/runs/{}",
    "/api/v1/runs/{}/{}", "/api/v1/runs/{}/{}/confusion", "/api/v1/{}", "/api/{}", "/healthz/{}", "/metrics?{}",
)  # fmt: skip


def test_path_traversal_is_impossible(served, run):
    """Send every payload in every variable part of a path or query, as raw bytes that no client normalises."""
    asked = [path.replace("{}", payload).replace("RUN", run.id) for path in PATHS for payload in PAYLOADS]
    assert len(asked) > 1_500
    served.faults()
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda path: attack(served, request(path=path)), asked))
    counts = {status: statuses.count(status) for status in sorted(set(statuses), key=str)}
    print(f"\n{len(asked):,} hostile paths: {counts}")
    assert set(statuses) <= {200, 307, 400, 404, 405, 422}, counts  # 307: "/healthz/" to "/healthz"
    outside = [p for p, s in zip(asked, statuses, strict=True) if s == 200 and p.startswith(("/static/", "/samples/"))]
    assert not outside
    assert not served.faults()


METHODS = "PUT DELETE PATCH TRACE OPTIONS CONNECT HEAD PROPFIND POST GETT get " + "A" * 300
PLACES = "/ /predict /compare /static/style.css /api/v1/predict /api/v1/runs /healthz /nowhere *"


def test_methods(served):
    asked = itertools.product(METHODS.split(), PLACES.split())
    statuses = {(method, path): attack(served, request(method, path, "Content-Length: 0")) for method, path in asked}
    assert set(statuses.values()) <= {200, 400, 404, 405, 415}, statuses
    changed = {key for key, status in statuses.items() if status == 200 and key[0] not in ("HEAD", "OPTIONS")}
    assert not changed


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.1@evil.example",
     "", "[", "[::1", "]", "[::ffff:8.8.8.8]", "0.0.0.0", "localhost:99999", "localhost/healthz?", "evil/healthz#",
     "a" * 5_000, "\xff\xfe", "localhost evil", "%6cocalhost", "<script>", "169.254.169.254"],
)  # fmt: skip
def test_foreign_hosts(served, guarded, host):
    """Host names of other machines are refused (DNS rebinding), and none of them replaces a token."""
    status = attack(served, request(path="/compare", host=host))
    assert status in ((400, 421) if not host.startswith("localhost") else (200, 400, 421)), status
    assert attack(guarded, request(path="/compare", host=host)) in (400, 401)


def test_two_hosts(served):
    assert attack(served, request("GET", "/", "Host: evil.example")) in (400, 421)
    assert attack(served, b"GET / HTTP/1.1\r\n\r\n") in (400, 421)
    assert attack(served, b"GET / HTTP/1.0\r\n\r\n") in (400, 421)
    assert attack(served, request(path="http://evil.example/healthz")) in (400, 404, 421)


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://localhost", "null", "", "http://localhost:1", "http://[", "http://]", "file://",
     "http://localhost@evil.example", "x" * 3_000, "\xff", "http://LOCALHOST.evil", "chrome-extension://abc"],
)  # fmt: skip
def test_uploads_from_foreign_pages_are_refused(served, good, origin):
    upload = part(b"images", good, b"a.png")
    for path in ("/predict", "/api/v1/predict"):
        host = f"localhost:{served.port}"
        asked = form(upload, path=path, headers=(f"Origin: {origin}",)).replace(b"localhost", host.encode(), 1)
        assert attack(served, asked) == 403
    assert served.ask(good, headers={"Origin": served.url}).status_code == 200


RAW = (
    b"", b"\r\n\r\n", b"\0" * 100, b"GET", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100), b"SSH-2.0-x\r\n",
    b"GET / HTTP/1.1\nHost: localhost\n\n", b"GET  /  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\na\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\na: b\0c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\na: " + b"b" * 100_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"A" * 1_000_000,
    request("GET", "/", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {'A' * 22}=="),
    request("GET", "/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    request("GET", "/", "Range: bytes=0-0,1-1,2-2"),
    request("GET", "/static/style.css", "Range: bytes=" + "0-0," * 900 + "1-1"),
    request("GET", "/static/style.css", "Range: bytes=99999999-"), request("GET", "/static/style.css", "Range: x"),
    request("GET", "/static/style.css", "If-Modified-Since: x"),
    request("GET", "/static/style.css", "If-None-Match: *"),
    request("GET", "/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil", "X-Forwarded-Proto: javascript"),
    request("GET", "/", "Cookie: " + "a=b; " * 1_000), request("GET", "/", "Accept: " + "*/*," * 1_000),
    request("GET", "/", "Authorization: Basic !!!!"), request("GET", "/", "Accept-Encoding: gzip;q=x"),
    request("GET", "/api/v1/runs", "traceparent: 00-x", "baggage: " + "a=b," * 500),
)  # fmt: skip


@pytest.mark.parametrize("content", RAW, ids=lambda content: repr(content[:40]))
def test_malformed_http(served, content):
    assert attack(served, content, end=True, seconds=5) in (None, 200, 304, 400, 404, 416, 421, 422, 431)
    assert served.get("/healthz").status_code == 200


LENGTHS = {
    "longer than what comes": ("Content-Length: 100000",),
    "shorter than what comes": ("Content-Length: 50",),
    "nothing": ("Content-Length: 0",),
    "negative": ("Content-Length: -1",),
    "no number": ("Content-Length: ten",),
    "a superscript": ("Content-Length: \xb2",),
    "a plus": ("Content-Length: +300",),
    "hexadecimal": ("Content-Length: 0x100",),
    "very many digits": ("Content-Length: " + "9" * 1_000,),
    "two": ("Content-Length: 5", "Content-Length: 500"),
    "a list": ("Content-Length: 300, 301",),
    "beyond the limit": ("Content-Length: 99999999999",),
    "length and chunks": ("Content-Length: 5", "Transfer-Encoding: chunked"),
    "unknown coding": ("Transfer-Encoding: gzip, chunked",),
    "coding with a tab": ("Transfer-Encoding: \tchunked",),
    "no chunks": ("Transfer-Encoding: chunked",),
    "content coding": ("Content-Encoding: gzip", "Content-Length: 700"),
}


@pytest.mark.parametrize("headers", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("path", ["/predict", "/api/v1/predict"])
def test_wrong_content_lengths(served, good, headers, path):
    served.faults()
    status = attack(served, form(part(b"images", good, b"a.png"), path=path, headers=headers), end=True)
    assert status is None or 200 <= status < 500
    served.wait(lambda: json.loads(served.get("/healthz").text)["busy"] == 0)
    assert not served.faults()  # who goes away is no defect of the server


@pytest.mark.parametrize(
    "chunks",
    [b"zz\r\n", b"-5\r\nabc", b"5\r\nabc", b"ffffffffffffffffff\r\nabc", b"0x5\r\nabcde\r\n0\r\n\r\n",
     b"5;" + b"a" * 50_000, b"0\r\nx: y\r\n\r\n", b"1\r\na\r\n" * 5_000,
     b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: evil\r\n\r\n"],
    ids=lambda chunks: repr(chunks[:20]),
)  # fmt: skip
def test_chunks(served, chunks):
    head = ("Content-Type: multipart/form-data; boundary=x", "Transfer-Encoding: chunked")
    assert attack(served, request("POST", "/api/v1/predict", *head, body=chunks), end=True) in (None, 400, 415, 422)


SMEAR, PLAIN = b"\x89PNG\r\n\x1a\n", b"--x\r\nContent-Disposition: form-data; name=images"
FORMS = {
    "nothing": form(end=b""),
    "the end alone": form(),
    "no boundary": form(kind="multipart/form-data"),
    "empty boundary": form(kind='multipart/form-data; boundary=""'),
    "long boundary": form(kind=f"multipart/form-data; boundary={'x' * 3_000}"),
    "odd boundary": form(kind='multipart/form-data; boundary="x\xff\xfe"'),
    "other boundary": form(part(b"images", SMEAR, b"a.png"), kind="multipart/form-data; boundary=y"),
    "boundary in another charset": form(kind="multipart/form-data; boundary*=utf-16''x%00"),
    "boundary in pieces": form(kind="multipart/form-data; boundary*0=a; boundary*1=b"),
    "undefined charset": form(part(b"models", b"\xff"), kind="multipart/form-data; boundary=x; charset=undefined"),
    "charset of host names": form(part(b"models", b"a." * 99), kind="multipart/form-data; boundary=x; charset=idna"),
    "charset that is no text": form(part(b"models", b"a"), kind="multipart/form-data; boundary=x; charset=zlib"),
    "mixed": form(kind="multipart/mixed; boundary=x"),
    "nested": form(part(b"images", b"--y\r\n" + part(b"images", SMEAR, b"a.png") + b"--y--")),
    "json": form(kind="application/json", end=b'{"images": []}'),
    "urlencoded": form(kind="application/x-www-form-urlencoded", end=b"images=a&models=b"),
    "xml": form(kind="text/xml", end=b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'),
    "no type": request("POST", "/api/v1/predict", "Content-Length: 0"),
    "odd type": form(kind="\xff\xfe; =;;;\"\\"),
    "10,000 parts": form(part(b"models", b"cnn") * 10_000),
    "10,000 images": form(part(b"images", SMEAR, b"a.png") * 10_000),
    "10,000 headers": form(b"--x\r\n" + b"a: b\r\n" * 10_000 + b"\r\n"),
    "long header": form(b"--x\r\nContent-Disposition: " + b"a" * 100_000 + b"\r\n\r\n"),
    "long field": form(part(b"models", b"a" * 100_000)),
    "long name of a field": form(part(b"a" * 3_000, b"1")),
    "no end": form(part(b"images", SMEAR, b"a.png"), end=b""),
    "ends in a header": form(b'--x\r\nContent-Disposition: form-data; name="ima', end=b""),
    "ends in a boundary": form(part(b"images", SMEAR, b"a.png"), end=b"--"),
    "no disposition": form(b"--x\r\n\r\nabc\r\n"),
    "no name": form(b'--x\r\nContent-Disposition: form-data; filename="a.png"\r\n\r\nabc\r\n'),
    "no headers": form(b"--x\r\nabc\r\n"),
    "newlines alone": form(b"--x\nContent-Disposition: form-data; name=images\n\nabc\n"),
    "header in a name": form(part(b'images"\r\nX-Evil: yes\r\nb="', SMEAR, b"a.png")),
    "header in a file's name": form(part(b"images", SMEAR, b'a.png"\r\nSet-Cookie: a=b\r\nx="')),
    "zero in a name": form(part(b"im\0ages", SMEAR, b"a\0.png")),
    "another field": form(part(b"file", SMEAR, b"a.png")),
    "text as image": form(part(b"images", b"abc")),
    "files named alike": form(part(b"images", SMEAR, b"a.png") * 3),
    "name in another charset": form(PLAIN + b"; filename*=utf-16''%ff%fe\r\n\r\na\r\n"),
    "part in base64": form(PLAIN + b"; filename=a\r\nContent-Transfer-Encoding: base64\r\n\r\nAA==\r\n"),
    "prologue": form(b"abc" * 10_000 + b"\r\n" + part(b"images", SMEAR, b"a.png")),
    "epilogue": form(part(b"images", SMEAR, b"a.png"), end=b"--x--\r\n" + b"abc" * 10_000),
    "nearly boundaries": form(part(b"images", b"\r\n--x\r" * 20_000, b"a.png")),
}  # fmt: skip


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_malformed_forms(served, content):
    assert attack(served, content) in (400, 413, 415, 422)
    assert attack(served, content.replace(b"/api/v1/predict", b"/predict", 1)) in (400, 413, 415, 422)


VALUES = (
    "", " ", ",", ",,,,", "a" * 1_500, "../../etc/passwd", "\0", "\x7f", "cnn\0", SCRIPT, "{{7*7}}", "null", "-1",
    "NaN", "[]", "{}", "ünïcode", "💩", "\u202e", "cnn" + ",cnn" * 400, ",".join(f"m{k}" for k in range(300)), "cnn/",
    "/cnn", "cnn/../cnn", "none",
)  # fmt: skip


@pytest.mark.parametrize("field", ["models", "heatmap", "sample", "keep", "page", "__proto__", ""])
def test_values_of_fields(served, good, field, web_root):
    for path in ("/api/v1/predict", "/predict"):
        for value in VALUES:
            if field == "keep" and value:
                continue  # stores the image; it has its own test
            parts = part(b"images", good, b"a.png"), part(field.encode(), value.encode())
            status = attack(served, form(*parts, path=path))
            assert status in (200, 404, 422), (field, value, status)
    assert not (web_root / "kept").exists()


NAMES = (
    SCRIPT, "\"><img src=x onerror=alert(1)>", "'-alert(1)-'", "javascript:alert(1)", "../../../../etc/passwd",
    "..\\..\\a.png", "/etc/passwd", "C:\\a.png", "a" * 1_900, "\xff\xfe.png", "{{7*7}}.png", "=cmd|' /C calc'!A0.png",
    "a\tb.png", "\u202egnp.exe", "</title><script>alert(1)</script>", "--><script>alert(1)</script>", ".", "..",
    "   ", "CON", "a;b.png", "&lt;script&gt;",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_files(served, good, name):
    """A file name is escaped and shortened, and never becomes a path."""
    told = name.encode("utf-8", "replace").replace(b'"', b"%22")
    for path in ("/api/v1/predict", "/predict"):
        for content in (good, b"no image"):
            answer = served.raw(form(part(b"images", content, told), path=path))
            status, headers, body = parsed(answer)
            sound(served, status, headers, body)
            assert status == (200 if content == good else 415)
            if path == "/predict":
                assert b"<script>alert" not in body and b"<img src=x" not in body
            elif status == 200:
                shown = json.loads(body)["images"][0]["name"]
                assert len(shown) <= 80 and "/" not in shown and "\\" not in shown and shown.isprintable()
