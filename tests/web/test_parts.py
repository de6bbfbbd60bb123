"""Parts of the server: sentences of answers, and child processes that are late or die."""

from types import SimpleNamespace

import pytest
from echo_worker import make_worker

from utils.paths import PROJECT
from utils.system import optional_packages
from webapp.http import connection_limits, security
from webapp.runs import interpretation
from webapp.settings import MB, Settings
from webapp.workers.child_process import Child, Died, Late


def given(name, predicted):
    return SimpleNamespace(name=name, predicted=predicted, given=bool(predicted))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ([("a", "Pre")], ""),
        ([("a", "Pre"), ("b", "Pre")], "Both models say Pre."),
        ([("a", "Pre"), ("b", "Pre"), ("c", "")], "2 of 3 models say Pre."),
        ([("a", ""), ("b", "")], "No model gives a class."),
        ([("a", "Pro"), ("b", "Pre"), ("c", "Pre")], "The models disagree: 2 of 3 say Pre; Pro: a."),
    ],
)
def test_agreement(said, words):
    assert interpretation.agreement([given(*each) for each in said]) == words


def test_runs_get_the_shortest_unique_names():
    def entry(label, dataset, split, folder):
        record = SimpleNamespace(row={"dataset": dataset, "split": split})
        run = SimpleNamespace(path=SimpleNamespace(name=folder))
        return SimpleNamespace(id=folder, label=label, record=record, run=run)

    runs = ("a", "d", "s", "1"), ("b", "d", "s", "2"), ("b", "d", "t", "3"), ("c", "d", "s", "4"), ("c", "e", "s", "5")
    found = interpretation.names([entry(*each) for each in (*runs, ("f", "d", "s", "6"), ("f", "d", "s", "7"))])
    assert list(found.values()) == ["a", "b, split s", "b, split t", "c, d", "c, e", "f, 6", "f, 7"]


def test_a_child_process_is_restarted_when_late_or_dead():
    child = Child("test", make_worker)
    try:
        assert child.call("x", 30) == "x"
        with pytest.raises(ValueError, match="as asked"):
            child.call("fail", 30)
        with pytest.raises(Late):
            child.call("sleep", 0.2)
        assert child.call("x", 30) == "x"
        with pytest.raises(Died):
            child.call("die", 30)
        assert child.call("x", 30) == "x"
        assert child.restarts == 2
    finally:
        child.close()
    assert child.memory() == 0


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_serve_names_the_missing_package_and_how_to_install_it(guide, monkeypatch, package):
    real = optional_packages.installed
    monkeypatch.setattr(optional_packages, "installed", lambda name: name != package and real(name))
    done = guide("serve", "--port", "0")
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert f"'{package}'" in line and line.endswith("pip install -r requirements-web.txt")


def test_an_address_of_another_machine_is_refused_in_one_line(guide):
    done = guide("serve", "--host", "192.0.2.1", "--port", "0")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert all(text in line for text in ("192.0.2.1", "port 0", "--port", "--host"))


def test_the_limits_in_the_document_are_those_of_the_server():
    limits = Settings(PROJECT)
    said = (
        f"| one image | {limits.image_bytes // MB} MB, {limits.image_pixels // 10**6} million pixels |",
        f"| one request | {limits.request_bytes // MB} MB, {limits.images} images, {limits.models} models |",
        f"| all uploads at one time | {limits.waiting} requests, {limits.held_bytes // MB} MB |",
        f"| all decoded images at one time | {limits.pixel_bytes // MB} MB |",
        f"| requests, connections at one time | {security.MOST}, {connection_limits.MOST:,} |",
        f"| the head of a request | {connection_limits.SECONDS} s, {security.HEAD_BYTES:,} bytes |",
        f"| an upload, on average after {limits.upload_grace:.0f} s | {limits.upload_rate // 1000} kB/s |",
        f"| the next part of a response that a client is reading | {connection_limits.SECONDS} s |",
        f"| decoding one image | {limits.decode_seconds:.0f} s, {limits.decoder_mb / 1000:g} GB of address space |",
        f"| reading a request; answering it | {limits.deadline:.0f} s each |",
        f"| models kept open | {limits.models}, {limits.memory_mb / 1000:g} GB of weights |",
    )
    text = (PROJECT / "docs" / "web.md").read_text(encoding="utf-8")
    assert [line for line in said if line not in text] == []
