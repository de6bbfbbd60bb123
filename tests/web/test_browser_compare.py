"""The pages below "Compare" in Chromium: from the leaderboard to a run, a cell, an image and its heatmap."""

import re

import numpy as np
from browser_helpers import address, in_sight, shoot
from playwright.sync_api import expect

from utils.metrics import predictions

pytest_plugins = ["chromium"]


def column(page, title):
    return page.locator("#boards th").filter(has=page.get_by_role("link", name=re.compile(f"^{title} ?")))


def order(page, caption="smears"):
    """Return the models of a board from top to bottom."""
    board = page.get_by_role("region", name=f"Leaderboard {caption}")
    return board.locator("tbody th").all_inner_texts()


def test_leaderboard_is_sorted(visit):
    page = visit("/compare")
    for title, first in (("Model", "ascending"), ("Random", "descending"), ("Train", "ascending")):
        orders = []
        for turn in (first, "descending" if first == "ascending" else "ascending"):
            head = column(page, title)
            head.get_by_role("link").first.click()
            expect(head.first).to_have_attribute("aria-sort", turn)
            expect(page.locator("#boards .wide").first.locator("[aria-sort]")).to_have_count(1)
            expect(head.get_by_role("link").first).to_be_focused()
            orders.append(order(page))
        assert sorted(orders[0]) == ["cnn", "cnn (stain_swap)"]
        if title != "Random":
            assert orders[1] == orders[0][::-1]
        if title == "Model":
            assert orders[0] == ["cnn", "cnn (stain_swap)"]
    assert re.search(r"sort=training_seconds&order=desc", page.url)  # so that a reload keeps it
    page.reload()
    expect(column(page, "Train").first).to_have_attribute("aria-sort", "descending")


def test_leaderboard_is_sorted_without_a_script(visit):
    page = visit("/compare", java_script_enabled=False)
    column(page, "Model").get_by_role("link").first.click()
    expect(column(page, "Model").first).to_have_attribute("aria-sort", "ascending")
    assert order(page) == ["cnn", "cnn (stain_swap)"]
    column(page, "Model").get_by_role("link").first.click()
    assert order(page) == ["cnn (stain_swap)", "cnn"]
    expect(page.get_by_label("Filter by words")).to_be_hidden()  # what needs a script is not offered


def row_of(page, run):
    return page.locator("#every-run tbody tr").filter(has=page.locator(f'a[href$="{run.id}"]'))


def test_every_run_with_its_state(visit, runs):
    page = visit("/compare")
    expect(page.locator("#runs")).to_contain_text(
        "5 runs, newest first; 2 of them cannot be compared, with the reason."
    )
    for run, state, why in (
        (runs.plain, "finished", ""),
        (runs.unfinished, "unfinished", f"python run_guide.py train --resume {runs.unfinished.id}"),
        (runs.damaged, "damaged", "metrics.json"),
    ):
        expect(row_of(page, run).locator("td").first).to_contain_text(state)
        expect(row_of(page, run)).to_contain_text(why)
    expect(row_of(page, runs.plain).get_by_text("weights", exact=True)).to_be_visible()
    expect(row_of(page, runs.other).get_by_text("weights", exact=True)).to_have_count(0)

    words = page.get_by_label("Filter by words")
    words.fill("RESNET unfin")
    expect(page.locator("#every-run tbody tr:visible")).to_have_count(1)
    expect(page.locator("#filtered")).to_have_text("1 of 5 runs")
    expect(row_of(page, runs.unfinished)).to_be_visible()
    words.fill("nothing of the kind")
    expect(page.locator("#every-run tbody tr:visible")).to_have_count(0)
    words.fill("")
    expect(page.locator("#every-run tbody tr:visible")).to_have_count(5)


def test_the_page_of_a_run(visit, runs):
    page = visit(address(runs.plain))
    found = runs.plain.metrics()["test"]
    expect(page.locator(".tile").first).to_contain_text(f"{100 * found['accuracy']:.2f} %")
    in_sight(page, page.locator(".tile .value").first)
    for title in ("Training", "Calibration", "Stress test", "Faithfulness of the heatmaps"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_text("was not measured")).to_have_count(0)
    figures = page.locator("figure img")
    assert figures.count() == 6
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        figure.evaluate("(image) => image.decode()")  # fails where it is none
        assert figure.evaluate("(image) => image.naturalWidth") == int(figure.get_attribute("width"))
        assert len(figure.get_attribute("alt")) > 40
    page.get_by_text(re.compile(r"^Configuration \(")).click()
    expect(page.get_by_role("row", name=re.compile("^dataset smears"))).to_be_visible()
    page.get_by_role("link", name="Calibration", exact=True).click()
    box = page.locator("#calibration").bounding_box()
    strip = page.locator(".strip").bounding_box()
    assert box["y"] >= strip["y"] + strip["height"]  # the strip does not lie over what was jumped to


def test_from_a_cell_to_a_heatmap(visit, runs):
    page = visit(address(runs.plain))
    table = runs.plain.predictions("test")
    mistakes = predictions.confusion(table)
    np.fill_diagonal(mistakes, 0)
    true, predicted = divmod(int(mistakes.argmax()), len(mistakes))
    names = predictions.arrays(table)[0]
    wanted = predictions.cell(table, names[true], names[predicted])
    page.get_by_role("link", name=re.compile(f"^true {names[true]}, predicted {names[predicted]}: ")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{len(wanted)} image")
    shots = page.locator(".shot")
    assert shots.locator("h2").all_inner_texts() == [name.rpartition("/")[2] for name in wanted["image"]]
    for shot, (_, row) in zip(shots.all(), wanted.iterrows(), strict=True):
        expect(shot.locator(".verdict")).to_have_text(f"True {names[true]}, predicted {names[predicted]}")
        expect(shot.locator("li.said .share")).to_have_text(
            re.compile(f"{100 * row[f'{predictions.PREFIX}{names[predicted]}']:.1f}\\s%")
        )
        in_sight(page, shot.locator(".verdict"))
        shot.locator("img.smear").evaluate("(image) => image.decode()")
    shot = shots.first
    image, look = shot.locator("img.smear"), shot.locator("[data-look]")
    plain = image.get_attribute("src")
    expect(look).to_have_attribute("aria-pressed", "false")
    look.click()
    expect(look).to_have_attribute("aria-pressed", "true", timeout=60_000)
    expect(image).to_have_attribute("src", re.compile("^blob:"))
    image.evaluate("(image) => image.decode()")
    assert image.evaluate("(image) => image.naturalWidth") == 448
    page.evaluate("scrollTo(0, 0)")
    shoot(page, "cell")
    look.press(" ")
    expect(image).to_have_attribute("src", plain)
    page.get_by_label("Method of the heatmaps").select_option(label="Score-CAM")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(f"true={true}&predicted={predicted}&.*method=scorecam"))
    shots.first.locator("[data-look]").click()
    expect(shots.first.locator("img.smear")).to_have_attribute("src", re.compile("^blob:"), timeout=60_000)


def test_images_open_in_the_browser(visit, runs):
    """The browser's image viewer must work with the content security policy."""
    page = visit(address(runs.plain, "/cell"), java_script_enabled=False)
    page.get_by_role("link", name=re.compile("^Show the heatmap")).first.click()
    expect(page).to_have_url(re.compile("heatmap.png"))
    page.goto(address(runs.plain))
    page.locator("figure a").first.click()
    expect(page).to_have_url(re.compile("figures/curves.png"))


def test_two_runs_side_by_side(visit, runs):
    page = visit("/compare")
    page.get_by_label("First run").select_option(runs.plain.id)
    page.get_by_label("Second run").select_option(runs.swapped.id)
    page.get_by_role("button", name="Compare").click()
    (_, labels, one), (_, _, two) = (predictions.arrays(run.predictions("test")) for run in (runs.plain, runs.swapped))
    first, second = (shares.argmax(axis=1) == labels for shares in (one, two))
    numbers = [int(text) for text in page.locator(".agreement td:not(:empty)").all_inner_texts()]
    cells = (first & second, first & ~second, ~first & second, ~first & ~second)
    assert numbers == [int(cell.sum()) for cell in cells]
    better = 0 if numbers[1] >= numbers[2] else 1  # the run that is right more often where they differ
    only = max(numbers[1:3])
    page.get_by_role("link", name=f"Only the {('first', 'second')[better]} is correct ({only})").click()
    expect(page.locator(".shot")).to_have_count(only)
    for shot in page.locator(".shot").all():
        expect(shot.locator(".of-two .tag")).to_have_text([("right", "wrong"), ("wrong", "right")][better])
    shot = page.locator(".shot").first
    looks = shot.locator("[data-look]")
    expect(looks).to_have_count(2)
    looks.nth(0).click()
    expect(looks.nth(0)).to_have_attribute("aria-pressed", "true", timeout=60_000)
    shown = shot.locator("img.smear").get_attribute("src")
    looks.nth(1).click()
    expect(looks.nth(1)).to_have_attribute("aria-pressed", "true", timeout=60_000)
    expect(looks.nth(0)).to_have_attribute("aria-pressed", "false")
    assert shot.locator("img.smear").get_attribute("src") != shown
    in_sight(page, shot.locator(".verdict").last)
    page.locator("#agreement").evaluate("(title) => scrollBy(0, title.getBoundingClientRect().top - 64)")
    shoot(page, "versus")


def test_screenshots(visit, runs):
    page = visit("/compare", viewport={"width": 1320, "height": 900})
    page.locator(".findings").evaluate("(list) => scrollBy(0, list.getBoundingClientRect().top - 48)")
    shoot(page, "compare")
    page.goto(address(runs.plain))
    page.locator(".tiles").evaluate("(tiles) => scrollBy(0, tiles.getBoundingClientRect().top - 48)")
    shoot(page, "run")
