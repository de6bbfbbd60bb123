"""Tracking URIs: redaction, and the key of a server in tracking.json."""

import pytest

from models.engine.tracking import mlflow_client, redaction


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://u:secret@host:5/db", "postgresql://host:5/db"),
        ("postgresql://u:se#cret@host/db", "postgresql://host/db"),
        ("postgresql+psycopg2://u:se/cret@host/db", "postgresql+psycopg2://host/db"),
        ("mysql://u:se?cret@host/db", "mysql://host/db"),
        ("mysql://u:s@c/r:e@t@host/db", "mysql://host/db"),
        ("mysql://u:se cret@host/db", "mysql://host/db"),
        ("postgresql://host/db?user=u&password=SECRET", "postgresql://host/db"),
        ("postgresql://host/db?user=u&password=SE@CRET", "postgresql://..."),
        ("mssql+pyodbc:///?odbc_connect=Driver%3DX;PWD=se@cret", "mssql+pyodbc://..."),
        ("u:secret@host", "u:host"),
        ("sqlite+pysqlcipher://:secret@/x.db", "sqlite+pysqlcipher:///x.db"),
        ("sqlite:///a@b?c.db", "sqlite:///a@b?c.db"),
        ("file:a@b", "file:a@b"),
        ("http://127.0.0.1:5000/a", "http://127.0.0.1:5000/a"),
        ("localhost:5000", "localhost:5000"),
        ("mlruns", "mlruns"),
    ],
)
def test_shown_uris_hold_no_password(uri, expected):
    assert mlflow_client.shown(uri) == expected


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ("cannot use postgresql://u:se/c@r#et@host/db", "cannot use postgresql://host/db"),
        ('bad host "cr/et@host" in it', 'bad host ...@host" in it'),
        ("url: /x?user=u&password=SECRET (again)", "url: /x (again)"),
        ("Failed to parse: 'u:se' is not a valid host or port", redaction.CAUSES["Failed to parse"]),
    ],
)
def test_reasons_hold_no_password(problem, expected):
    assert redaction.reason(ValueError(problem)) == expected


def test_a_local_database_has_one_key_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "a b").mkdir()
    monkeypatch.chdir(tmp_path / "a b")
    assert mlflow_client.place("sqlite:///x.db") == f"sqlite:///{tmp_path / 'a b' / 'x.db'}"
    assert mlflow_client.place("sqlite:///../x.db") == f"sqlite:///{tmp_path / 'x.db'}"
    folder = (tmp_path / "a b" / "runs").as_uri()
    assert {mlflow_client.place(uri) for uri in ("file:runs", "file:./runs", folder)} == {folder}
    assert mlflow_client.place("http://u:p@host:5000") == "http://host:5000"
