"""Accessibility of the pages: keyboard only, 320 pixels, visible notice, dark mode, axe-core."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_helpers import File, address, answer_of, ask, choose, in_sight, noise, sample
from playwright.sync_api import expect

pytest_plugins = ["chromium"]

# What has the focus: whether a line around it shows that, and whether something lies over it.
FOCUS = """() => {
  const element = document.activeElement, box = element.getBoundingClientRect(), style = getComputedStyle(element);
  const found = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return {
    name: element.outerHTML.slice(0, 160),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    large: box.height > 300 || box.width > innerWidth,
    covered: found === null || !(element.contains(found) || found.contains(element)),
  };
}"""


def focused(page):
    """Check that the focused element is visibly focused, at once or in the next frames."""
    for _ in range(20):
        found = page.evaluate(FOCUS)
        if found["outlined"] and (found["large"] or not found["covered"]):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"the focus is not to be seen: {found}")


def tab_to(page, target, key="Tab", most=120):
    """Press a key until an element has the focus; check that the focus is visible on the way."""
    for _ in range(most):
        page.keyboard.press(key)
        focused(page)
        if target.evaluate("(element) => element === document.activeElement"):
            return
    raise AssertionError(f"{target} is not reached with {key}")


def test_keyboard_only(visit, runs):
    page = visit()
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    focused(page)
    tab_to(page, page.get_by_label("Early", exact=True))
    page.keyboard.press("Space")
    expect(page.get_by_label("Early", exact=True)).to_be_checked()
    tab_to(page, page.get_by_label("Heatmaps", exact=True))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Heatmaps", exact=True)).to_have_value("gradcam")
    tab_to(page, page.get_by_role("button", name="Ask the models"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Answers")).to_be_focused(timeout=60_000)
    card = answer_of(page, "early.png")
    tab_to(page, card.get_by_label("Outline of the nuclei"))
    page.keyboard.press("Space")
    expect(card.locator("svg.outline").first).to_be_visible()
    slider = card.get_by_role("slider")
    tab_to(page, slider)
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    expect(card.locator(".heat").first).to_have_css("opacity", "0.69")
    tab_to(page, page.get_by_role("navigation").get_by_role("link", name="Compare"), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/compare$"))
    page.wait_for_load_state()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.locator("main").evaluate("(main) => main.contains(document.activeElement)")
    tab_to(page, page.locator(f'#every-run a[href$="{runs.plain.id}"]'))
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(runs.plain.id)))
    page.wait_for_load_state()
    tab_to(page, page.locator(".matrix a").nth(1))
    tab_to(page, page.locator(".matrix a").nth(0), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/cell"))
    page.wait_for_load_state()
    look = page.locator("[data-look]").first
    tab_to(page, look)
    page.keyboard.press("Space")
    expect(look).to_have_attribute("aria-pressed", "true", timeout=60_000)
    page.keyboard.press("Enter")
    expect(look).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("width", [320, 1180])
def test_the_focus_is_always_visible(visit, runs, width):
    """Forwards and backwards: sticky headers and columns never cover the focused element."""
    for path in ("/compare", address(runs.plain)):
        page = visit(path, viewport={"width": width, "height": 640})
        last = page.locator("main :is(a, button, summary, [tabindex='0']):visible").last
        tab_to(page, last, most=250)
        tab_to(page, page.locator("main a").first, "Shift+Tab", most=250)


def pages_of(runs):
    """Return the address of a page of every kind but the one with answers."""
    return {
        "predict": "/",
        "compare": "/compare",
        "finished run": address(runs.plain),
        "run without weights": address(runs.other),
        "unfinished run": address(runs.unfinished),
        "damaged run": address(runs.damaged),
        "cell": address(runs.plain, "/cell"),
        "one cell": address(runs.plain, "/cell?true=0&predicted=0&method=scorecam"),
        "cell without weights": address(runs.other, "/cell"),
        "versus": f"/versus?a={runs.plain.id}&b={runs.swapped.id}",
        "versus on other images": f"/versus?a={runs.plain.id}&b={runs.other.id}",
        "versus with a damaged run": f"/versus?a={runs.plain.id}&b={runs.damaged.id}",
        "nothing to compare": "/versus",
        "api": "/api",
        "404": "/nothing",
    }


WITHOUT_CLASSES = ("predict", "unfinished run", "damaged run", "versus on other images", "versus with a damaged run")
WITHOUT_CLASSES += ("nothing to compare", "api", "404")


@pytest.fixture
def every_page(visit, runs):
    """Yield name and window of a page of every kind, with all that is folded opened."""

    def go(**options):
        for name, path in pages_of(runs).items():
            page = visit(path, refused=[404] if name == "404" else [], **options)
            page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            yield name, page
            page.close()
        yield "answers", answers(visit, **options)

    return go


def answers(visit, **options):
    """Return a page with answers of every kind: a class, none, and a file that cannot be used."""
    page = visit(refused=[415], **options)
    choose(page, noise(), File("words.png", b"words"), sample("early"))
    ask(page)
    answer_of(page, "early.png").get_by_label("Outline of the nuclei").check()
    page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    return page


# Controls that are seen, and how high and wide they are for a thumb; a box to tick is as large as its label.
TARGETS = """() => [...document.querySelectorAll(
  "main button, main .button, main select, main input, main summary, header nav a, .brand, .matrix a, a.sort"
)].map((each) => each.type === "checkbox" ? each.closest("label") : each)
  .filter((each) => each.checkVisibility() && each.type !== "range")
  .map((each) => [each.outerHTML.slice(0, 120), each.getBoundingClientRect()])
  .filter(([, box]) => box.width > 0 && (box.height < 24 || box.width < 24))
  .map(([name, box]) => `${Math.round(box.width)} x ${Math.round(box.height)}: ${name}`)"""


def test_narrow_screens(every_page):
    for name, page in every_page(viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True):
        wide = page.evaluate("() => [document.documentElement.scrollWidth, document.body.scrollWidth]")
        assert max(wide) <= 320, f"{name} scrolls sideways: {wide}"
        assert page.evaluate("() => innerWidth") == 320, f"{name} is laid out wider than the screen"
        assert page.evaluate(TARGETS) == [], f"{name} holds what a thumb does not meet"
        for region in page.locator(".wide").all():  # what is wider scrolls within itself, also by keyboard
            assert region.get_attribute("tabindex") == "0" and region.get_attribute("aria-label")
        notice_in_sight(name, page)


def notice_in_sight(name, page):
    """Check that the notice is in sight at the first, a middle and the last class that a page shows, and at its end."""
    shown = page.locator(".said, .verdict, .matrix, .board, .agreement, .tile")
    assert shown.count() or name in WITHOUT_CLASSES
    for k in {0, shown.count() // 2, shown.count() - 1} if shown.count() else ():
        in_sight(page, shown.nth(k))
    page.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    in_sight(page, page.locator("footer"))


def test_the_notice_is_visible_wherever_a_class_is_shown(every_page):
    for name, page in every_page(viewport={"width": 1180, "height": 640}):
        notice_in_sight(name, page)


GROUNDS = {"light": "rgb(245, 246, 249)", "dark": "rgb(17, 21, 26)"}  # of the page, as style.css has them


@pytest.mark.parametrize("width", [1180, 360])
def test_axe_finds_nothing(every_page, width):
    rules = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
    found = {}
    for name, page in every_page(viewport={"width": width, "height": 740}):
        for scheme, ground in GROUNDS.items():
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("body")).to_have_css("background-color", ground)
            result = Axe().run(page, options=rules)
            if result.violations_count:
                found[f"{name}, {scheme}"] = result.generate_report()
    assert not found, "\n\n".join(f"{name}: {report}" for name, report in found.items())
