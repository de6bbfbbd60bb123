"""Trackers with a real MLflow server and real event files."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import requests
import small_training
from command_line import run_code
from fake_runs import fake_run
from small_training import only_run, wait_for_an_epoch

from models.engine.tracking import mlflow_client, mlflow_tracker, redaction, tensorboard_tracker, tracker
from utils.errors import LeukoBenchError
from utils.io import files
from utils.paths import PROJECT

TINY = (*small_training.TINY, "--set", "batch_size=8", "--set", "patience=500")
START = "mlflow server --host 127.0.0.1 --port 5000"


class Server:
    """`mlflow server` on a free port of this machine, with a database and files in a folder."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri, self.process = f"http://127.0.0.1:{self.port}", None

    def start(self):
        self.stop()
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
            *("--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"),
            *("--artifacts-destination", str(self.folder / "files")),
        ]
        quiet = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "log.txt", "ab") as log:
            # a group of its own, so that stopping it stops its workers and nothing else
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=quiet)
        end = time.monotonic() + 120
        while True:
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log.txt").read_text()
            try:
                if requests.get(f"{self.uri}/health", timeout=1).ok:
                    return
            except requests.exceptions.RequestException:
                time.sleep(0.2)

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = Server(tmp_path_factory.mktemp("mlflow"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def client(server):
    return mlflow_client.connect(server.uri)[0]


def start(root, *options):
    command = [sys.executable, "run_guide.py", "train", "cnn", *TINY, "--root", str(root), *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=PROJECT, text=True, start_new_session=True, **pipes)


def kept_id(run, server):
    return files.read_json(run.file("tracking.json"))["mlflow"][server.uri]


def steps(client, run_id, metric="val_loss"):
    return [point.step for point in client.get_metric_history(run_id, metric)]


def events(run, part=""):
    """Return {tag: [(step, value)]} as TensorBoard itself reads a log."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    log = EventAccumulator(str(run.file("tensorboard") / part), size_guidance={"tensors": 0})  # 0: all of them
    log.Reload()
    return {
        tag: [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in log.Tensors(tag)]
        for tag in log.Tags()["tensors"]
    }


def artefacts(server):
    """Return time and size of every artefact that a server keeps."""
    found = [path for path in (server.folder / "files").rglob("*") if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def epochs(run):
    return [row["epoch"] for row in run.history()]


@pytest.fixture(scope="module")
def tracked(server, home, guide):
    """One training with both trackers, and the same one without any."""
    both = ("--tensorboard", "--mlflow", server.uri)
    made = {}
    for name, options in {"with": both, "without": ()}.items():
        root = home / f"tracked-{name}"
        words = ("train", "cnn", *TINY, "--set", "epochs=2", "--root", str(root))
        done = guide(*words, *options, command=("run_guide.py",))
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        made[name] = only_run(root)
        made[f"{name} out"] = done.stdout
    return made


def test_results_do_not_depend_on_tracking(tracked):
    run, plain = tracked["with"], tracked["without"]
    assert run.file("config.json").read_bytes() == plain.file("config.json").read_bytes()
    assert run.path.name.partition("-")[2] == plain.path.name.partition("-")[2], "the hash of the configuration"
    assert run.file("predictions.csv").read_bytes() == plain.file("predictions.csv").read_bytes()
    assert {p.name for p in run.path.iterdir()} - {p.name for p in plain.path.iterdir()} == {
        *("tensorboard", "tracking.json", "export")
    }


def test_mlflow_holds_the_complete_run(tracked, client, server):
    run = tracked["with"]
    run_id = kept_id(run, server)
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED" and found.info.run_name == run.id
    config, about = run.config(), run.environment()
    assert found.data.params["filters"] == "[4,8,8]" and found.data.params["variant.name"] == "rgb"
    assert set(found.data.params) == set(redaction.flat(config))
    tags = {"model": "cnn", "label": "cnn", "dataset": "tiny", "split": "64/16/20", "seed": "42"}
    tags |= {"manifest": about["manifest"], "initialisation": "random", "mlflow.source.git.commit": about["git_commit"]}
    assert tags.items() <= found.data.tags.items() and about["cpu"] in found.data.tags["machine"]
    for column in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"):
        points = [(p.step, p.value) for p in client.get_metric_history(run_id, column)]
        assert points == [(row["epoch"], pytest.approx(row[column])) for row in run.history()]
    assert found.data.metrics["test_accuracy"] == run.metrics()["test"]["accuracy"]
    assert found.data.metrics["best_val_accuracy"] == run.metrics()["val"]["accuracy"]
    assert found.data.metrics["inference_parameters"] == run.timing()["inference"]["parameters"]
    files_there = {each.path for each in client.list_artifacts(run_id)}
    assert files_there == {*mlflow_tracker.UPLOADED, "README.md"}
    assert f"MLflow at {server.uri}: run {run_id} of the experiment LeukoBench" in tracked["with out"]


def test_tensorboard_reads_the_log(tracked):
    run = tracked["with"]
    train, validation, test = (events(run, part) for part in ("train", "validation", "test"))
    for log, tags in ((train, tensorboard_tracker.SCALARS["train"]), (validation, {"epoch_loss": "val_loss"})):
        for tag, column in tags.items():
            assert log[tag] == [(row["epoch"], pytest.approx(row[column], rel=1e-6)) for row in run.history()]
    assert test["accuracy"] == [(2, pytest.approx(run.metrics()["test"]["accuracy"]))]
    assert b"| **Benign** |" in test["confusion"][0][1].item()
    top = events(run)
    assert b"| filters | [4,8,8] |" in top["config"][0][1].item()
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(top)


def test_sent_data_are_not_sent_again(tracked, client, server, guide):
    run = tracked["with"]
    run_id = kept_id(run, server)
    before = client.get_metric_history(run_id, "val_loss"), client.get_metric_history(run_id, "test_accuracy")
    ended, stored = client.get_run(run_id).info.end_time, artefacts(server)
    assert ended == int(1000 * run.file("metrics.json").stat().st_mtime)
    assert {path.name for path in stored} >= {*mlflow_tracker.UPLOADED, "README.md"}
    done = guide("track", str(run.path), "--mlflow", server.uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{run.id}: MLflow at {server.uri}: run {run_id} of the experiment LeukoBench\n"
    assert kept_id(run, server) == run_id
    after = client.get_metric_history(run_id, "val_loss"), client.get_metric_history(run_id, "test_accuracy")
    assert [list(map(str, each)) for each in after] == [list(map(str, each)) for each in before]
    assert client.get_run(run_id).info.status == "FINISHED"
    assert client.get_run(run_id).info.end_time == ended and artefacts(server) == stored


def test_changed_files_and_scores_are_sent_and_the_end_time_stays(server, client, tmp_path):
    run = fake_run(tmp_path)
    mlflow_tracker.Mlflow(server.uri).finish(run)
    run_id, stored = kept_id(run, server), artefacts(server)
    ended = client.get_run(run_id).info.end_time
    files.write_text(run.file("environment.json"), run.file("environment.json").read_text() + " ")
    mlflow_tracker.Mlflow(server.uri).finish(run)
    changed = [path.name for path, state in artefacts(server).items() if stored[path] != state]
    assert changed == ["environment.json"] and client.get_run(run_id).info.end_time == ended
    scores = run.metrics()
    scores["test"]["accuracy"] = 0.125
    files.write_json(run.file("metrics.json"), scores)
    mlflow_tracker.Mlflow(server.uri).finish(run)
    found = client.get_run(run_id)
    assert found.data.metrics["test_accuracy"] == 0.125 and found.info.status == "FINISHED"
    assert found.info.end_time == int(1000 * run.file("metrics.json").stat().st_mtime)


def test_a_damaged_tracking_file_is_reported(server, tmp_path):
    run = fake_run(tmp_path)
    for text in ("[]", '{"mlflow": []}', '{"mlflow": {"http://host": 5}}'):
        run.file("tracking.json").write_text(text)
        with pytest.raises(LeukoBenchError) as caught:
            mlflow_tracker.Mlflow(server.uri).finish(run)
        assert f"{run.file('tracking.json')} is damaged" in str(caught.value) and "Remove it" in str(caught.value)


def test_resume_after_ctrl_c_continues_both_logs(server, client, home, guide):
    root = home / "stopped-tracked"
    both = ("--tensorboard", "--mlflow", server.uri)
    process = start(root, "--set", "epochs=30", *both)
    wait_for_an_epoch(process, root)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err.strip() == "Stopped.", err
    run = only_run(root)
    run_id, done = kept_id(run, server), epochs(run)
    assert 1 <= len(done) < 30
    assert client.get_run(run_id).info.status == "KILLED" and steps(client, run_id) == done
    assert [step for step, _ in events(run, "validation")["epoch_loss"]] == done

    resumed = guide("train", "--resume", run.id, "--root", str(root), *both)
    assert (resumed.returncode, resumed.stderr) == (0, "")
    assert kept_id(run, server) == run_id and client.get_run(run_id).info.status == "FINISHED"
    assert steps(client, run_id) == steps(client, run_id, "accuracy") == epochs(run) == list(range(1, 31))
    for part in ("train", "validation"):
        assert [step for step, _ in events(run, part)["epoch_accuracy"]] == epochs(run)
    assert len(events(run)["config"]) == 1


def test_training_continues_when_the_server_dies(server, home, guide):
    root = home / "server-dies"
    process = start(root, "--set", "epochs=40", "--mlflow", server.uri)
    try:
        wait_for_an_epoch(process, root)
        server.stop()
        out, err = process.communicate(timeout=200)
        run = only_run(root)
        assert process.returncode == 0 and run.finished and len(epochs(run)) == 40, err
        send = f"python run_guide.py track {run.id} --mlflow {server.uri}"
        assert err.count("\n") == 1 and err.startswith(f"Note: MLflow at {server.uri}") and send in err
        assert re.search("connection (refused|lost)", err)  # between requests or in one
        assert "of the experiment LeukoBench" not in out
        gone = guide("track", run.id, "--root", str(root), "--mlflow", server.uri)
        assert gone.returncode == 1
        assert f"{server.uri}: connection refused" in gone.stderr and START in gone.stderr
    finally:
        process.kill()
        server.start()
    client = mlflow_client.connect(server.uri)[0]
    run_id = kept_id(run, server)
    assert client.get_run(run_id).info.status == "RUNNING" and len(steps(client, run_id)) < 40
    done = guide("track", run.id, "--root", str(root), "--mlflow", server.uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(client, run_id) == list(range(1, 41)) and client.get_run(run_id).info.status == "FINISHED"


def test_missing_data_are_sent_at_the_end(server, tmp_path, capsys):
    run = fake_run(tmp_path, epochs=6)
    rows, whole = run.history(), run.file("history.csv").read_text(encoding="utf-8")

    def keep(count):
        run.file("history.csv").write_text("\n".join(whole.splitlines()[: count + 1]) + "\n", encoding="utf-8")

    keep(1)
    with tracker.choose(False, server.uri) as tracking:
        tracking.begin(run)
        keep(2)
        tracking.epoch(rows[1])
        server.stop()
        for count in (3, 4, 5):
            keep(count)
            tracking.epoch(rows[count - 1])
        server.start()
        keep(6)
        tracking.epoch(rows[5])  # a tracker that failed is skipped until the end
        client = mlflow_client.connect(server.uri)[0]
        assert steps(client, kept_id(run, server)) == [1, 2]
    shown = capsys.readouterr()
    assert shown.err.count("Note: ") == 1
    assert shown.out.endswith("available again, missing data were sent\n")
    assert steps(client, kept_id(run, server)) == [1, 2, 3, 4, 5, 6]


def test_a_failed_training_has_status_and_reason(server, client, tmp_path):
    run = fake_run(tmp_path, finished=False)
    with pytest.raises(LeukoBenchError, match=r"^The loss became nan"), tracker.choose(False, server.uri) as tracking:
        tracking.begin(run)
        raise LeukoBenchError("The loss became nan at step 1.")
    found = client.get_run(kept_id(run, server))
    assert found.info.status == "FAILED"
    assert found.data.tags["failure"] == "LeukoBenchError: The loss became nan at step 1."


def test_a_run_deleted_in_mlflow_is_created_again(server, client, tmp_path):
    run = fake_run(tmp_path)
    ids = []
    for _ in range(2):
        mlflow_tracker.Mlflow(server.uri).finish(run)
        ids.append(kept_id(run, server))
        client.delete_run(ids[-1])
    assert ids[0] != ids[1]


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_databases_and_folders_work_without_server(tmp_path, kind):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}" if kind == "sqlite" else (tmp_path / "mlruns").as_uri()
    run = fake_run(tmp_path)
    tracker.check(False, uri)
    mlflow_tracker.Mlflow(uri).finish(run)
    client = mlflow_client.connect(uri)[0]
    found = client.get_run(files.read_json(run.file("tracking.json"))["mlflow"][uri])
    assert found.info.status == "FINISHED" and steps(client, found.info.run_id) == [1, 2, 3, 4]


def test_a_truncated_log_continues_without_repeated_steps_and_without_tensorflow(tmp_path):
    run = fake_run(tmp_path, epochs=5)
    whole = run.file("history.csv").read_text(encoding="utf-8")
    program = (
        "import sys; sys.modules['tensorflow'] = None\n"
        "from pathlib import Path; from utils.runs.run_folder import Run\n"
        "from models.engine.tracking.tensorboard_tracker import TensorBoard\n"
        "log = TensorBoard(); run = Run(Path(sys.argv[1])); log.begin(run) if sys.argv[2:] else log.finish(run)\n"
    )
    run.file("history.csv").write_text("\n".join(whole.splitlines()[:4]) + "\n", encoding="utf-8")
    assert run_code(program, run.path, "begin") == ""
    for part in ("train", "validation"):  # killed while the third epoch was written
        (log,) = (run.file("tensorboard") / part).glob("*tfevents*")
        log.write_bytes(log.read_bytes()[:-9])
    run.file("history.csv").write_text(whole, encoding="utf-8")
    time.sleep(1.1)  # names of event files begin with the second
    for _ in range(2):
        assert run_code(program, run.path) == ""
    for part in ("train", "validation"):
        assert [step for step, _ in events(run, part)["epoch_loss"]] == [1, 2, 3, 4, 5]
    assert len(events(run, "test")["accuracy"]) == 1


@pytest.mark.parametrize(
    ("uri", "facts"),
    [
        ("localhost:5000", ("received 'localhost:5000'", "http:, https:, file:, sqlite:", "http://127.0.0.1:5000")),
        ("http://me:secret@127.0.0.1:9", ("http://127.0.0.1:9: connection refused", START)),
    ],
)
def test_an_unusable_uri_is_reported_before_any_training(home, guide, uri, facts):
    root = home / "never"
    done = guide("train", "cnn", *TINY, "--root", str(root), "--mlflow", uri)
    assert (done.returncode, done.stdout) == (1, "") and done.stderr.count("\n") == 1
    assert all(fact in done.stderr for fact in facts) and "secret" not in done.stderr
    assert not root.exists()


def test_a_silent_server_is_given_up_after_the_timeout(monkeypatch):
    monkeypatch.setattr(mlflow_client, "TIMEOUT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(LeukoBenchError, match=f"{uri}: timed out.*{START}"):
            tracker.check(False, uri)


@pytest.mark.parametrize(
    "sent",
    [
        b"",  # it dies before it answers
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"run": {',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{"run": {',
    ],
)
def test_a_server_that_dies_while_it_answers_is_a_lost_connection(sent):
    def answer():
        connection = dying.accept()[0]
        connection.recv(65536)
        connection.sendall(sent)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as dying:
        threading.Thread(target=answer, daemon=True).start()
        uri = f"http://127.0.0.1:{dying.getsockname()[1]}"
        with pytest.raises(LeukoBenchError, match=f"{uri}: connection lost.*{START}"):
            mlflow_client.connect(uri)


def test_a_server_that_is_not_mlflow_is_reported(tmp_path):
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        uri = f"http://127.0.0.1:{process.stdout.readline().split(' port ')[1].split()[0]}"
        tracker.check(False, uri)  # it answers
        with pytest.raises(LeukoBenchError, match=f"Cannot use MLflow at {uri}: .*{START}"):
            tracker.choose(False, uri)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("package", "wanted"), [("mlflow", (False, "http://x")), ("tensorboard", (True, None))])
def test_a_missing_package_is_named(monkeypatch, package, wanted):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(LeukoBenchError, match=f"^--{package} .*'{package}'.*requirements-extra.txt"):
        tracker.check(*wanted)


def test_an_unfinished_run_is_not_sent(guide, tmp_path):
    run = fake_run(tmp_path, finished=False)
    done = guide("track", run.id, "--root", str(tmp_path), "--mlflow", "http://127.0.0.1:9")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"train --resume {run.id} --mlflow http://127.0.0.1:9" in done.stderr
