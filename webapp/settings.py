"""Settings and limits of the server."""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from utils.errors import LeukoBenchError

MB = 1_000_000
SHORTEST_TOKEN = 16  # characters


@dataclass(frozen=True)
class Settings:
    """Settings of one server.

    Attributes:
        root: folder of the runs.
        host: address to listen on; any other than loopback needs a token.
        port: 0 chooses a free one.
        token: required in every request, at least SHORTEST_TOKEN characters; "" for none.
        proxies: addresses or networks of the proxies whose X-Forwarded-For names the client; they need a token.
        image_bytes: most bytes of one image file.
        image_pixels: most pixels (width times height) of one image.
        images: most images in one request.
        request_bytes: most bytes of the body of one request.
        held_bytes: most bytes of all request bodies in memory.
        pixel_bytes: most bytes of all decoded images in memory; further images wait.
        models: most models in one request, and most models kept loaded.
        memory_mb: most megabytes of weights of all loaded models.
        deadline: seconds to read a request, and seconds to answer it.
        upload_rate: least bytes per second of an upload, on average after `upload_grace` seconds.
        upload_grace: seconds that an upload may take in any case.
        waiting: most uploads at one time; further ones are answered with 503.
        decoders: number of decoder processes.
        decoder_mb: address space of each decoder in megabytes.
        decode_seconds: time limit to decode one image; the process is then restarted.
        export: name of the export used for runs that have it; "" for Keras.
    """

    root: Path
    host: str = "127.0.0.1"
    port: int = 0
    token: str = ""
    proxies: tuple[str, ...] = ()
    image_bytes: int = 20 * MB
    image_pixels: int = 25_000_000
    images: int = 16
    request_bytes: int = 64 * MB
    held_bytes: int = 256 * MB
    pixel_bytes: int = 160 * MB
    models: int = 12
    memory_mb: int = 3_000
    deadline: float = 60.0
    upload_rate: int = 10_000
    upload_grace: float = 5.0
    waiting: int = 64
    decoders: int = 2
    decoder_mb: int = 1_500
    decode_seconds: float = 10.0
    export: str = ""

    def __post_init__(self) -> None:
        """Check the token and the proxies.

        Raises:
            LeukoBenchError: the token is short or missing, or a proxy is no address.
        """
        for proxy in self.proxies:
            try:
                ip_network(proxy)
            except ValueError:
                raise LeukoBenchError(
                    f"Received the proxy '{proxy[:80]}'. Valid: an address or a network, as 10.0.0.2 or 10.0.0.0/24."
                ) from None
        count = len(self.token.strip())
        if count < SHORTEST_TOKEN and (self.token or not self.loopback):
            raise LeukoBenchError(
                f"Received a token of {count} characters; at least {SHORTEST_TOKEN} are needed. "
                'Make one: python -c "import secrets; print(secrets.token_urlsafe(24))"'
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host) and not self.proxies


def is_loopback(host: str) -> bool:
    """Return whether an address or name is a loopback address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
