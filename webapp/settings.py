"""What the person who starts the server decides, and the limits that hold against the world."""

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Settings:
    """Settings of one server.

    Attributes:
        root: folder of the runs.
        host: address to listen at; any other than loopback needs a token.
        port: 0 for a free one.
        token: that every request must bring; "" for none.
        image_bytes: of one image file.
        image_pixels: width times height of one image.
        images: in one request.
        request_bytes: of the whole body of one request.
        held_bytes: of all bodies that are held at one time.
        pixel_bytes: of all decoded images at one time; those that come later wait.
        models: asked in one request at most; also how many stay open, unless `memory_mb` is reached before.
        memory_mb: weights of all models that are open.
        deadline: seconds for reading a request, and as many for answering it.
        waiting: requests that may be in work or wait; more are told to come again.
        decoders: processes that decode images.
        decoder_mb: address space of each of them.
        decode_seconds: for one image; then its process is ended.
        export: name of the export that answers for the runs that have it; "" for Keras always.
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
    """Say whether an address or name is this machine alone."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
