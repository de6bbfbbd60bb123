"""Render pages from templates: everything is escaped, and an undefined name is an error."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import HTMLResponse

from utils import heatmap_methods
from utils.runs import split_spec
from utils.tables.cost import machine, seconds
from utils.tables.table import difference, joined, name_lines, number, percent, quantity
from utils.text import NOTICE

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"


def render(request: Request, name: str, **context: Any) -> HTMLResponse:
    """Render a template; `request` and `notice` are always defined."""
    text = _environment().get_template(name).render(request=request, notice=NOTICE, **context)
    return HTMLResponse(text.encode("utf-8", "replace"))  # a file name may hold a lone surrogate


def run_url(id: str) -> str:
    """Return the path of a run's page; a folder name may hold any character."""
    return f"/runs/{quote(id, safe='/:')}"


def when(folder: str) -> str:
    """Return the date and time in a run folder's name, "2026-11-21 04:58"; else the name."""
    stamp = folder.partition("Z-")[0]
    day, _, time = stamp.partition("T")
    known = len(day) == 8 and len(time) >= 4 and day.isdigit() and time.isdigit()
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}" if known else folder


def plural(count: int, word: str) -> str:
    """Return "1 image", "2 images", "0 images"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


@lru_cache(maxsize=1)
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    filters = (
        name_lines,
        percent,
        number,
        difference,
        quantity,
        joined,
        seconds,
        machine,
    )
    environment.filters |= {each.__name__: each for each in (*filters, run_url, when, plural)}
    environment.filters["method_title"] = heatmap_methods.title
    environment.filters |= {"split_words": split_spec.words, "split_named": split_spec.named}
    return environment
