"""Predictions of the server equal those of evaluation, and unknown values are not invented."""

import asyncio
import base64
import csv
import io
import os
import re
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageCms
from starlette.testclient import TestClient
from web_server import calibrated

from data.datasets.image_decoder import decode
from data.ood import reference_distribution
from models.engine.explain import explainer
from models.engine.run_io.run_loader import open_model
from models.engine.serving import predict
from utils.io import files
from utils.metrics import calibration, predictions
from utils.paths import raw_dir
from utils.runs import calibration_file, run_folder, seal
from webapp.server import make_app
from webapp.settings import Settings

SITE = "http://localhost"


@pytest.fixture(scope="module")
def run(small_run, tmp_path_factory):
    """Copy the small run into its own root, whose files may change."""
    return calibrated(small_run, tmp_path_factory.mktemp("web") / "runs")


@pytest.fixture(scope="module")
def client(run):
    with TestClient(make_app(Settings(run.root)), base_url=SITE) as found:
        yield found


@pytest.fixture(scope="module")
def tested(run):
    """Return path and row of predictions.csv of the first test images."""
    rows = run.predictions("test").head(8).to_dict("records")
    return [(raw_dir("tiny") / row["image"], row) for row in rows]


def send(client, *contents, address="/api/v1/predict", headers=None, **fields):
    uploads = [("images", (name, content)) for name, content in contents]
    return client.post(address, files=uploads, data=fields, headers=headers)


def sent(client, content, **fields):
    """Send one image; return what the server says of it."""
    (image,) = send(client, ("a", content), **fields).json()["images"]
    return image


def answer_to(client, content, **fields):
    """Return the answer of the only model to one image."""
    (answer,) = sent(client, content, **fields)["answers"]
    return answer


def encoded(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def smear(tested, k=0):
    return np.asarray(Image.open(tested[k][0]).convert("RGB"))


def noise(size=64):
    return np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)


def test_answers_are_those_of_evaluation(client, run, tested):
    """Calibrated by the temperature and with the sets that `calibrate` would give."""
    found = send(client, *((path.name, path.read_bytes()) for path, _ in tested)).json()
    held = files.read_json(run.file(calibration_file.FILE))
    given = [(each["answers"][0], row) for each, (_, row) in zip(found["images"], tested, strict=True)]
    assert sum(answer["predicted"] is not None for answer, _ in given) >= 7  # one may lie apart
    for answer, row in given:
        if answer["predicted"] is None:
            continue
        classes = run.config()["classes"]
        raw = np.array([row[f"{predictions.PREFIX}{name}"] for name in classes])
        wanted = calibration.scaled(raw[None], held["temperature"])[0]
        assert answer["calibrated"]
        assert [answer["probabilities"][name] for name in classes] == pytest.approx(wanted, abs=1e-5)
        assert answer["predicted"] == classes[raw.argmax()]
        assert answer["probability"] == pytest.approx(wanted.max(), abs=1e-5)
        assert answer["set_coverage"] == {k: v["coverage"] for k, v in held["conformal"].items()}
        for level, sets in answer["prediction_sets"].items():
            assert sets == [
                n for n, p in zip(classes, raw, strict=True) if 1 - p <= held["conformal"][level]["threshold"]
            ]
    assert found["notice"] == "Research only, not a diagnosis"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_files_of_any_kind_are_decoded_as_predict_decodes_them(client, run, tested, tmp_path, unchecked, kind):
    """JPEG decoders differ by up to 19 of 255 levels: the server must use that of training."""
    content = encoded(smear(tested), kind, **({"quality": 97, "subsampling": 2} if kind == "JPEG" else {}))
    (tmp_path / "image").write_bytes(content)
    (wanted,) = predict.predict_each(run, [tmp_path / "image"])
    temperature = files.read_json(run.file(calibration_file.FILE))["temperature"]
    shares = calibration.scaled(np.array([wanted.probabilities]), temperature)
    assert list(answer_to(client, content)["probabilities"].values()) == pytest.approx(shares[0], abs=1e-5)


def test_an_image_that_is_no_smear_gets_no_class(client, tested):
    content = encoded(noise(128))
    answer = answer_to(client, content)
    assert answer["predicted"] is answer["probability"] is answer["probabilities"] is answer["runtime"] is None
    assert answer["prediction_sets"] == {}
    assert answer["distance"] > answer["limit"]
    assert answer["refused"].startswith("This image differs from the training images of the model (distance ")
    page = send(client, ("noise.png", content), address="/predict", headers={"X-Fragment": "1"}, heatmap="own").text
    assert "No answer" in page and "This image differs from the training images" in page
    assert 'class="said"' not in page and 'class="heat"' not in page  # nothing to explain


@pytest.fixture
def unchecked(run):
    """Take the reference away for a while, so that every picture gets a class."""
    place = reference_distribution.path(run.root, run.environment()["manifest"])
    kept = place.rename(place.with_suffix(".away"))
    yield
    kept.rename(place)


def test_without_a_reference_the_answer_says_that_it_was_not_checked(client, unchecked):
    answer = answer_to(client, encoded(noise()))
    assert answer["limit"] is None and answer["predicted"]
    page = send(client, ("noise.png", encoded(noise())), address="/predict", headers={"X-Fragment": "1"}).text
    assert "Not checked" in page


def test_heatmaps_are_those_of_explain(client, run, tested):
    path = next(path for path, _ in tested if answer_to(client, path.read_bytes())["predicted"])
    for method in ("own", "gradcam", "gradcam++", "scorecam"):
        heatmap = answer_to(client, path.read_bytes(), heatmap=method)["heatmap"]
        found = np.asarray(Image.open(io.BytesIO(base64.b64decode(heatmap["png"]))))
        wanted, _ = explainer.explain_images(run, [path], "" if method == "own" else method)
        assert found.shape == (heatmap["height"], heatmap["width"]) == wanted[0].shape
        assert np.abs(found - wanted[0] * 255).max() <= 1.5
    answer = answer_to(client, path.read_bytes(), heatmap="rollout")
    assert answer["heatmap"] is None
    assert answer["heatmap_problem"].startswith("Method 'rollout' does not fit cnn")


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"not an image at all", 415, "a: this is no image of an accepted format: JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "a: this is no image of an accepted format"),
        (b"", 422, "a: zero bytes. Send a complete 8-bit image"),
        (encoded(noise(), "JPEG")[:900], 422, "a: truncated"),
        (encoded(noise(), "GIF", save_all=True, append_images=[Image.new("RGB", (64, 64))]), 422, "a: 2 frames"),
        (encoded(np.zeros((3000, 9000), np.uint8)), 413, "a: more than 25 million pixels (decompression bomb)"),
    ],
)  # fmt: skip
def test_unusable_files_are_refused_with_a_reason(client, tested, content, status, words):
    response = send(client, ("a", content))
    assert response.status_code == response.json()["status"] == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"].startswith(words)
    both = send(client, ("a", content), ("b", tested[0][0].read_bytes()))
    assert both.status_code == 200
    first, second = both.json()["images"]
    assert first["problem"]["status"] == status and first["answers"] == []
    assert second["problem"] is None and len(second["answers"]) == 1
    page = send(client, ("a", content), address="/predict")
    assert page.status_code == status and "<h1>Not usable</h1>" in page.text


def test_a_form_without_an_image_is_refused(client):
    empty = client.post("/api/v1/predict", files=[("models", (None, b"cnn"))])
    assert empty.status_code == 422 and empty.json()["title"] == "No image"


def test_a_run_without_weights_cannot_predict(run, tested, tmp_path):
    shutil.copytree(run.root, tmp_path / "runs")
    without = "cnn/20200101T000000Z-00000000"
    shutil.copytree(run.path, tmp_path / "runs" / without, ignore=shutil.ignore_patterns(run_folder.WEIGHTS))
    with TestClient(make_app(Settings(tmp_path / "runs")), base_url=SITE) as client:
        refused = send(client, ("a", tested[0][0].read_bytes()), models=without)
    assert refused.status_code == 422 and refused.json()["title"] == "Not usable"
    assert without in refused.json()["detail"] and "no weights" in refused.json()["detail"]


def test_images_are_converted_to_plain_rgb(client, tested):
    upright, exif = smear(tested), Image.Exif()
    exif[0x0112] = 6
    plain = sent(client, encoded(upright))
    rotated = sent(client, encoded(np.rot90(upright).copy(), exif=exif))
    assert rotated["changes"] == ["turned upright"]
    assert rotated["answers"] == plain["answers"]
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = profile.replace(b"rXYZ", b"none", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"none", b"gXYZ", 1)
    assert sent(client, encoded(upright, icc_profile=profile)) == plain
    assert sent(client, encoded(upright, icc_profile=swapped))["changes"] == ["colour profile made sRGB"]
    deep = upright[..., 1].astype(np.uint16) * 257
    assert sent(client, encoded(deep))["changes"] == ["16-bit grey made 8-bit RGB"]


def test_models_are_named_by_model_label_or_run(client, run, tested):
    content = tested[0][0].read_bytes()
    for name in ("cnn", run.id, f" cnn , {run.id}"):
        assert answer_to(client, content, models=name)["run"] == run.id
    unknown = send(client, ("a", content), models="cnm")
    assert unknown.status_code == 422
    assert unknown.json()["detail"] == "Received the model 'cnm'. Valid: cnn, or the id of a run."
    assert send(client, ("a", content), models="cnn/../../etc").status_code == 404
    detail = send(client, ("a", content), heatmap="x").json()["detail"]
    assert detail.startswith("Received the heatmap method 'x'. Valid: none")
    assert send(client, models="cnn").status_code in (415, 422)


def test_simultaneous_requests_are_batched_with_equal_answers(client, tested):
    contents = [path.read_bytes() for path, _ in tested]
    alone = [answer_to(client, content) for content in contents]

    def batches():
        """Return how many batches the models had, and the images in them."""
        meters = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines())
        return np.array([float(meters[f"leukobench_batch_images_{name}"]) for name in ("count", "sum")])

    before = batches()
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda content: answer_to(client, content), contents * 6))
    made, images = batches() - before
    for answer, wanted in zip(together, alone * 6, strict=True):
        assert answer["predicted"] == wanted["predicted"]
        if wanted["predicted"]:
            assert list(answer["probabilities"].values()) == pytest.approx(
                list(wanted["probabilities"].values()), abs=1e-5
            )
    assert images == len(together) > made


def test_images_are_stored_only_on_request(client, run, tested):
    content = encoded(smear(tested), "JPEG")
    before = sorted(run.root.rglob("*"))
    assert send(client, ("a", content), address="/predict").status_code == 200
    assert sorted(run.root.rglob("*")) == before
    page = send(client, ("../../a.jpg", content), address="/predict", keep="yes").text
    name = re.search(r"Kept on the server as kept/(\w+)\.png", page)[1]
    kept = np.asarray(Image.open(run.root / "kept" / f"{name}.png"))
    assert (kept == np.asarray(decode(content).image)).all()
    (row,) = csv.DictReader((run.root / "kept" / f"{name}.csv").read_text().splitlines())
    assert row["image"] == "a.jpg" and row["run"] == run.id and row["notice"] == "Research only, not a diagnosis"
    assert not row["predicted"] or float(row[f"p_{row['predicted']}"]) == float(row["probability"])
    shutil.rmtree(run.root / "kept")
    send(client, ("a", content), keep="yes")  # the API keeps nothing
    send(client, ("a", content), address="/predict", keep="no")
    assert sorted(run.root.rglob("*")) == before


def test_the_page_works_without_trained_models(tmp_path, tested):
    with TestClient(make_app(Settings(tmp_path)), base_url=SITE) as empty:
        assert "There is no trained model here yet" in empty.get("/").text
        response = send(empty, ("a", tested[0][0].read_bytes()))
        assert response.status_code == 503 and response.headers["retry-after"] == "60"


def test_an_answer_that_takes_too_long_is_given_up(run, tested):
    """The first answer of a model loads it, which takes longer than this deadline."""
    with TestClient(make_app(Settings(run.root, deadline=0.5)), base_url=SITE) as hurried:
        late = send(hurried, ("a", tested[0][0].read_bytes()))
        assert late.status_code == 503 and late.json()["title"] == "Too slow" and late.headers["retry-after"] == "5"
        assert hurried.app.state.services.budget.held == hurried.app.state.services.places.held == 0


def test_changed_weights_give_no_answer_and_are_loaded_again_without_a_seal(client, run, tested, tmp_path):
    content = encoded(smear(tested))
    before = answer_to(client, content)
    marks = run.file(seal.FILE)
    path = run.file("model.weights.h5")
    kept = path.read_bytes()
    model = open_model(run)
    model.set_weights([weight * 0 for weight in model.get_weights()])
    model.save_weights(path)
    try:
        refused = send(client, ("a", content), models=run.id)
        marks.rename(tmp_path / seal.FILE)
        after = answer_to(client, content)
    finally:
        path.write_bytes(kept)
        (tmp_path / seal.FILE).rename(marks)
    assert refused.status_code == 503 and "probabilities" not in refused.text  # no other run can predict
    assert before["predicted"] and set(after["probabilities"].values()) == {0.25}


def test_a_worker_that_dies_in_a_batch_answers_the_others(client, tested):
    """A crash of the worker affects only the request that caused it; the others are repeated."""
    inference = client.app.state.services.inference
    worker = inference.child
    before = worker.restarts

    async def ask():
        image = tested[0][0].read_bytes()
        runs = (client.app.state.services.catalogue.offered()[0].run,)
        asked = [asyncio.ensure_future(inference.predict(runs, image)) for _ in range(3)]
        await asyncio.sleep(0)
        os.kill(worker._process.pid, signal.SIGKILL)
        return await asyncio.gather(*asked)

    found = client.portal.call(ask)
    assert worker.restarts == before + 1
    assert len({tuple(each[0]) for each in found}) == 1
