"""The page "Predict" in Chromium: every way of upload, answers, heatmaps and downloads.

LEUKOBENCH_SCREENSHOTS=1 also writes the screenshots of docs/web/, of drawn smears alone; else the tree stays as it is.
"""

import csv
import io
import re
import shutil

import numpy as np
import pytest
from browser_helpers import NOTICE, TRANSFER, File, answer_of, ask, choose, in_sight, noise, picture, sample, shoot
from PIL import Image
from playwright.sync_api import expect

from webapp.runs.interpretation import COLUMNS

pytest_plugins = ["chromium"]

CLASSES = ["Benign", "Early", "Pre", "Pro"]


def model_of(card, name):
    return card.locator(f'.model[aria-label="{name}"]')


def percent(text):
    return float(re.search(r"([\d.]+) %", text)[1])


def test_one_image(visit, runs):
    page = visit()
    expect(page.get_by_text(NOTICE).first).to_be_visible()
    choose(page, sample("early"))
    expect(page.locator("#status")).to_have_text("1 image chosen.")
    expect(page.locator("#chosen")).to_contain_text("early.png")
    ask(page)
    expect(page.get_by_role("heading", name="Answers")).to_be_focused()
    card = answer_of(page, "early.png")
    expect(card.locator(".lead")).to_contain_text(
        re.compile("^(Both|All 2) models say|^The models disagree: 1 of 2 say")
    )
    for run, name in ((runs.plain, "cnn"), (runs.swapped, "cnn (stain_swap)")):
        model = model_of(card, name)
        said = model.locator(".said")
        predicted, probability = said.locator("strong").inner_text(), percent(said.inner_text())
        assert model.locator("dt").all_inner_texts() == CLASSES
        shares = [percent(text) for text in model.locator("dd .share").all_inner_texts()]
        bars = [float(meter.get_attribute("value")) for meter in model.locator("meter").all()]
        assert sum(bars) == pytest.approx(1, abs=1e-3)
        assert shares == pytest.approx([100 * bar for bar in bars], abs=0.051)
        assert CLASSES[int(np.argmax(bars))] == predicted and max(shares) == probability
        expect(model).to_contain_text("Calibrated with temperature")
        record = run.metrics()["test"]
        honest = model.get_by_text("test images").last
        expect(honest).to_contain_text("32 test images (split 64/16/20)")
        expect(honest).to_contain_text(f"{100 * record['accuracy']:.1f} %")
        expect(honest).to_contain_text("with the stain of another class")
        in_sight(page, said)
    expect(model_of(card, "cnn (stain_swap)")).to_contain_text("it was trained on this perturbation")
    model_of(card, "cnn").get_by_role("link", name="cnn").click()
    expect(page).to_have_url(re.compile(re.escape(runs.plain.id)))
    expect(page.get_by_role("heading", level=1)).to_have_text("cnn")


# Keeps every text of the status and every value of the progress bar.
LISTEN = """() => {
  const status = document.getElementById("status"), progress = document.getElementById("progress");
  window.heard = [];
  const hear = () => window.heard.push([status.textContent, progress.value, progress.max, progress.hidden]);
  for (const each of [status, progress]) {
    new MutationObserver(hear).observe(each, { childList: true, characterData: true, attributes: true, subtree: true });
  }
}"""


def test_several_images_with_progress(visit):
    page = visit()
    choose(page, sample("benign"), sample("pre"))
    choose(page, sample("early"))
    expect(page.locator("#status")).to_have_text("3 images chosen.")
    page.get_by_role("button", name="Remove pre.png").click()
    page.get_by_label("Pro", exact=True).check()
    page.evaluate(LISTEN)
    ask(page)
    assert [h.inner_text() for h in page.locator("article h3").all()] == ["benign.png", "early.png", "pro.png"]
    expect(page.locator("#status")).to_have_text("3 of 3 images answered.")
    heard = page.evaluate("() => window.heard")
    for k in range(1, 4):
        assert any(f"({k} of 3)" in text and not hidden for text, _, _, hidden in heard)
        assert any(done == k and most == 3 for _, done, most, _ in heard)
    assert [done for _, done, _, _ in heard] == sorted(done for _, done, _, _ in heard)
    expect(page.locator("#progress")).to_be_hidden()


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_pasted_and_dropped(visit, kind):
    page = visit()
    target = page.locator("body" if kind == "paste" else "#drop")
    if kind == "drop":
        target.evaluate(TRANSFER, ["dragover", [sample("pre").told]])
        expect(target).to_have_class(re.compile("over"))
    target.evaluate(TRANSFER, [kind, [sample("pre").told, sample("pro").told]])
    expect(page.locator("#status")).to_have_text("2 images chosen.")
    expect(page.locator("#drop")).not_to_have_class(re.compile("over"))
    ask(page)
    expect(page.locator("article.answer .said")).to_have_count(4)


def test_unusable_files_and_images_that_are_no_smears_get_no_class(visit):
    page = visit(refused=[415, 422])
    jpeg = picture("half.jpg", np.asarray(Image.open(io.BytesIO(sample("pre").content)).convert("RGB")), "JPEG")
    choose(
        page,
        File("words.png", b"These are words. " * 20),
        File("half.jpg", jpeg.content[: len(jpeg.content) // 2]),
        noise(),
        sample("early"),
    )
    ask(page)
    expect(page.locator("#status")).to_have_text("2 of 4 images answered.")
    expect(answer_of(page, "words.png")).to_contain_text("words.png: this is no image of an accepted format: JPEG")
    expect(answer_of(page, "half.jpg")).to_contain_text(
        re.compile(r"half\.jpg: .*truncated.* Send a complete 8-bit image")
    )
    expect(answer_of(page, "early.png").locator(".said")).to_have_count(2)
    for name in ("words.png", "half.jpg"):
        expect(answer_of(page, name).locator(".said, meter, a.csv")).to_have_count(0)
    card = answer_of(page, "noise.png")
    expect(card.get_by_text("No answer", exact=True)).to_have_count(2)
    expect(card).to_contain_text("No model gives a class.")
    expect(card.locator(".said, meter, .heat")).to_have_count(0)
    (first, second) = csv.DictReader(io.StringIO(downloaded(page, card.get_by_role("link", name="CSV")).decode()))
    assert first["predicted"] == first["probability"] == second["predicted"] == ""
    assert first["refused"].startswith("This image differs from the training images")


def test_too_many_and_too_large(visit, tmp_path):
    page = visit()
    choose(page, *[File(f"{k}.png", sample("pre").content) for k in range(17)])
    expect(page.locator("#status")).to_have_text("At most 16 images at once: 1 left out.")
    expect(page.locator("#chosen li")).to_have_count(16)
    page.reload()
    for name, content in (("huge.png", bytes(20_000_001)), ("pre.png", sample("pre").content)):
        (tmp_path / name).write_bytes(content)
    page.get_by_label("Images", exact=True).set_input_files([tmp_path / "huge.png", tmp_path / "pre.png"])
    expect(page.locator("#status")).to_have_text("Left out, larger than 20 MB: huge.png.")
    expect(page.locator("#chosen li")).to_have_count(1)
    page.get_by_role("button", name="Remove pre.png").click()
    page.get_by_role("button", name="Ask the models").click()
    expect(page.locator("#status")).to_have_text("Choose an image or a sample first.")


def seen_through(card, percent):
    for layer in card.locator(".heat").all():
        expect(layer).to_have_css("opacity", f"{percent / 100:g}")


def test_heatmap_slider_method_and_outline(visit):
    page = visit()
    page.get_by_label("Early", exact=True).check()
    page.get_by_label("Heatmaps", exact=True).select_option(label="Grad-CAM")
    ask(page)
    card = answer_of(page, "early.png")
    expect(card.locator(".heat")).to_have_count(2)
    slider = card.get_by_role("slider", name="Heatmap")
    seen_through(card, 72)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    value = int(slider.input_value())
    assert 15 < value < 35
    seen_through(card, value)
    slider.press("ArrowRight")
    seen_through(card, value + 1)
    expect(card.locator("output")).to_have_text(f"{value + 1} %")
    expect(slider).to_have_attribute("aria-valuetext", f"{value + 1} %")

    expect(card.locator("svg.outline").first).to_be_hidden()
    card.get_by_label("Outline of the nuclei").check()
    expect(card.locator("svg.outline")).to_have_count(3)
    for outline in card.locator("svg.outline path.over").all():
        expect(outline).to_be_visible()
        assert outline.get_attribute("d").count("M") > 3  # closed lines, one a nucleus or more

    before = [layer.get_attribute("src") for layer in card.locator(".heat").all()]
    expect(card.locator(".heat").first).to_have_attribute("alt", re.compile("Grad-CAM heatmap of cnn"))
    page.get_by_label("Heatmaps", exact=True).select_option(label="Score-CAM")
    ask(page)
    after = [layer.get_attribute("src") for layer in card.locator(".heat").all()]
    assert len(after) == 2 and not set(after) & set(before)
    expect(card.locator(".heat").first).to_have_attribute("alt", re.compile("Score-CAM heatmap of cnn"))
    page.get_by_label("Heatmaps", exact=True).select_option(label="Attention rollout")
    ask(page)
    expect(card.get_by_text(re.compile("^No heatmap: "))).to_have_count(2)  # no transformer is among them
    page.get_by_label("Heatmaps", exact=True).select_option(label="No heatmaps (faster)")
    ask(page)
    expect(card.locator(".said")).to_have_count(2)
    expect(card.locator(".heat")).to_have_count(0)


def downloaded(page, button):
    with page.expect_download() as waiting:
        button.click()
    return waiting.value.path().read_bytes()


def test_downloads(visit, runs):
    page = visit()
    for name in ("Benign", "Pro"):
        page.get_by_label(name, exact=True).check()
    ask(page)
    card = answer_of(page, "pro.png")
    rows = list(csv.DictReader(io.StringIO(downloaded(page, card.get_by_role("link", name="CSV")).decode())))
    assert tuple(rows[0])[: len(COLUMNS)] == COLUMNS and list(rows[0])[-1] == "notice"
    assert {row["run"] for row in rows} == {runs.plain.id, runs.swapped.id}
    for row, name in zip(rows, (m.get_attribute("aria-label") for m in card.locator(".model").all()), strict=True):
        said = model_of(card, name).locator(".said")
        assert row["image"] == "pro.png" and row["predicted"] == said.locator("strong").inner_text()
        assert f"{100 * float(row['probability']):.1f}" == f"{percent(said.inner_text()):.1f}"
        assert row["calibrated"] == "yes" and row["refused"] == ""
        expect(model_of(card, name)).to_contain_text(row["prediction_set"])
    everything = downloaded(page, page.get_by_role("button", name="All answers as CSV")).decode()
    rows_of_all = list(csv.DictReader(io.StringIO(everything)))
    assert [row["image"] for row in rows_of_all] == ["benign.png"] * 2 + ["pro.png"] * 2
    assert rows_of_all[2:] == rows

    model = model_of(card, "cnn")
    with page.expect_download() as waiting:
        model.get_by_role("button", name="PNG with heatmap").click()
    assert waiting.value.suggested_filename == f"pro-{runs.plain.id.replace('/', '-')}-heatmap.png"
    with_heatmap = Image.open(waiting.value.path()).convert("RGB")
    assert with_heatmap.format is None and with_heatmap.size == (448, 448 + 56)  # twice 224, and two lines of words
    plain = np.asarray(Image.open(io.BytesIO(sample("pro").content)).convert("RGB").resize((448, 448))).astype(int)
    drawn = np.asarray(with_heatmap).astype(int)
    assert np.abs(drawn[:448] - plain).mean() > 5  # something lies over the picture
    assert (drawn[448:].min(axis=2) < 128).sum() > 300  # and words below it
    card.get_by_role("slider").press("Home")
    without = np.asarray(Image.open(io.BytesIO(downloaded(page, model.locator(".save-png")))).convert("RGB"))
    assert np.abs(without[:448].astype(int) - plain).mean() < 4  # only the enlargement differs


def test_models_can_be_left_out_and_images_are_stored_on_request(visit, runs):
    page = visit()
    page.get_by_text("Models: 2 of 2 are selected").click()
    page.get_by_label(re.compile(r"cnn \(stain_swap\)")).uncheck()
    expect(page.locator("summary")).to_contain_text("Models: 1 of 2 are selected")
    page.get_by_label("Pre", exact=True).check()
    ask(page)
    card = answer_of(page, "pre.png")
    expect(card.locator(".said")).to_have_count(1)
    expect(card.locator(".lead")).to_have_count(0)  # no agreement with one model
    assert not (runs.root / "kept").exists()
    page.get_by_label(re.compile("Keep the images and answers")).check()
    try:
        ask(page)
        expect(answer_of(page, "pre.png")).to_contain_text(re.compile(r"Kept on the server as kept/\w{16}\.png"))
    finally:
        shutil.rmtree(runs.root / "kept", ignore_errors=True)


def test_without_a_script(visit):
    page = visit(java_script_enabled=False)
    page.get_by_label("Early", exact=True).check()
    choose(page, sample("pro"), noise())
    page.get_by_role("button", name="Ask the models").click()
    for name in ("pro.png", "early.png"):
        expect(answer_of(page, name).locator(".said")).to_have_count(2)
        expect(answer_of(page, name).locator(".heat")).to_have_count(2)
    expect(answer_of(page, "noise.png")).to_contain_text("No class is given")
    expect(page.locator(".save-png").first).to_be_hidden()  # what needs a script is not offered
    expect(page.get_by_role("slider")).to_have_count(0)
    in_sight(page, answer_of(page, "early.png").locator(".said").first)


def test_screenshots(visit):
    for name, options in {
        "predict": {"viewport": {"width": 1180, "height": 980}},
        "predict-dark": {"viewport": {"width": 1180, "height": 980}, "color_scheme": "dark"},
        "predict-phone": {"viewport": {"width": 390, "height": 844}},
    }.items():
        page = visit(**options)
        page.get_by_label("Pro", exact=True).check()
        ask(page)
        card = answer_of(page, "pro.png")
        card.get_by_label("Outline of the nuclei").check()
        page.locator("#answers-title").evaluate("(title) => scrollBy(0, title.getBoundingClientRect().top - 48)")
        expect(page.locator(".strip")).to_be_in_viewport()
        shoot(page, name)
