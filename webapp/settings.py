"""Settings and limits of the server."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Settings of one server.

    Attributes:
        root: folder of the runs.
        host: address to listen on; any other than loopback needs a token.
        port: 0 chooses a free one.
        token: required in every request; "" for none.
        image_bytes: most bytes of one image file.
        image_pixels: most pixels (width times height) of one image.
        images: most images in one request.
        request_bytes: most bytes of the body of one request.
        held_bytes: most bytes of all request bodies in memory.
        pixel_bytes: most bytes of all decoded images in memory; further images wait.
        models: most models in one request, and most models kept loaded.
        memory_mb: most megabytes of weights of all loaded models.
        deadline: seconds to read a request, and seconds to answer it.
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
    image_bytes: int = 20 * MB
    image_pixels: int = 25_000_000
    images: int = 16
    request_bytes: int = 64 * MB
    held_bytes: int = 256 * MB
    pixel_bytes: int = 160 * MB
    models: int = 12
    memory_mb: int = 3_000
    deadline: float = 60.0
    waiting: int = 64
    decoders: int = 2
    decoder_mb: int = 1_500
    decode_seconds: float = 10.0
    export: str = ""

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether an address or name is a loopback address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
