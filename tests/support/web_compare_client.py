"""Client of the application with only a catalogue, and helpers to read its pages."""

import html
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fastapi.testclient import TestClient

from webapp.runs.catalogue import Catalogue
from webapp.server import make_app
from webapp.settings import Settings


class FakeInference:
    """Fake model worker: its heatmap rises to the right."""

    def __init__(self):
        self.asked = []

    def heatmap_of_file(self, run, path, method=""):
        self.asked.append((run.id, path.name, method))
        return np.tile(np.linspace(0, 1, 16, dtype=np.float32), (16, 1)), np.full(4, 0.25)


def client_of(root):
    """Return a client of the real application without worker processes."""
    app = make_app(Settings(root=Path(root)))
    app.state.services = SimpleNamespace(catalogue=Catalogue(root), inference=FakeInference())
    return TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)


def text_of(page):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("\u200b", "").split())


def get(client, path, status=200):
    answer = client.get(path)
    assert answer.status_code == status, f"{path}: {answer.status_code} {text_of(answer.text)[-300:]}"
    return answer


def first_cells(page, table):
    body = re.search(rf"<table[^>]*{table}[^>]*>.*?<tbody>(.*?)</tbody>", page, re.S)[1]
    return [text_of(cell) for cell in re.findall(r'<tr[^>]*>\s*<th scope="row">(.*?)</th>', body, re.S)]
