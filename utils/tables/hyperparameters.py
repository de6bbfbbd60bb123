"""Tables of the hyper-parameters of compared runs."""

from collections.abc import Callable, Sequence
from typing import Any

from utils.runs.comparison import Comparison
from utils.runs.records import variant_of
from utils.tables.table import SOFT, Table, name_lines, number
from utils.text import MISSING

Row = dict[str, Any]
# Fields of config.json in these tables; visualization/report/provenance.py lists the others.
SAID = frozenset(
    {
        *("image_size", "batch_size", "epochs", "patience", "precision"),
        *("class_weights", "fine_tune_class_weights"),
        *("learning_rate", "fine_tune_learning_rate", "weight_decay"),
        *("rate_drop_every", "rate_drop", "warmup_epochs", "cosine", "weights", "initialisation"),
        *("freeze", "head_epochs", "feature_views", "dense", "dropout"),
        *("variant", "augmentation", "intervention", "recipe", "offline", "flavour"),
    }
)
RANGES = {
    "rotation": "rotation ±{:g}°",
    "zoom": "zoom ±{:.0%}",
    "shift": "shift ±{:.0%}",
    "brightness": "brightness ±{:.0%}",
    "contrast": "contrast ±{:.0%}",
    "colour": "colour ±{:.0%}",
}


def records(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the columns of hyperparameters.csv, one dict per run, from config.json and history.csv.

    Learning rates are those of the first epoch of a phase; None: the run had no such phase.
    """
    found = []
    for run, row in zip(comparison.runs, comparison.rows, strict=True):
        config, history = run.config(), run.history()
        first = {}
        for epoch in history:
            first.setdefault("head" if epoch["phase"] == "head" else "whole", epoch["learning_rate"])
        found.append(
            {"name": row["name"], "model": row["model"], "run": row["run"]}
            | {"initialisation": row["initialisation"], "variant": variant_in_words(config)}
            | {"reference": _inner(config, "variant").get("reference") or None}
            | {key: config.get(key) for key in ("image_size", "batch_size", "epochs", "patience")}
            | {"precision": row["precision"], "class_weights": _weighed(config, first)}
            | {"optimiser": "AdamW" if config.get("weight_decay") else "Adam"}
            | {"rate_head": first.get("head"), "rate_whole": first.get("whole")}
            | {"weight_decay": config.get("weight_decay") or 0.0, "rate_drops": _drops(config)}
            | {"base": _base(history), "dense": config.get("dense") or 0, "dropout": config.get("dropout")}
            | {"augmentation": _in_each_epoch(config), "offline": _offline(config)}
        )
    return found


def tables(rows: Sequence[dict[str, Any]]) -> list[Table]:
    """Return `records` in four tables: training, optimiser, network, images."""
    variant = _wrapped("variant", 16)
    tables = {
        "training": {
            "Pixels": _whole("image_size"),
            "Batch": _whole("batch_size"),
            "Epochs\nat most": _whole("epochs"),
            "Patience": _whole("patience"),
            "Class\nweights": lambda row: row["class_weights"].replace("-", f"-{SOFT}"),
            "Precision": lambda row: str(row["precision"] or MISSING).replace("_", f"_{SOFT}"),
        },
        "optimiser": {
            "Optimiser": lambda row: row["optimiser"],
            "Rate,\nhead": _rate("rate_head"),
            "Rate,\nwhole": _rate("rate_whole"),
            "Weight\ndecay": _rate("weight_decay"),
            "Rate drops": _wrapped("rate_drops", 12),
        },
        "network": {
            "Initial\nweights": lambda row: row["initialisation"].replace(" ", "\n"),
            "Base": _wrapped("base", 18),
            "Dense\nunits": _whole("dense"),
            "Dropout": _rate("dropout"),
        },
        "images": {
            "Variant": lambda row: variant(row).replace("/", f"/{SOFT}"),
            "Augmentation\nin each epoch": _wrapped("augmentation", 22),
            "Copies\nbeforehand": _wrapped("offline", 14),
        },
    }
    words = {"training": {0, 5, 6}, "optimiser": {0, 1, 5}, "network": {0, 1, 2}, "images": {0, 1, 2, 3}}
    return [
        Table(
            f"Hyper-parameters: {title}",
            ("Model", *columns),
            [[name_lines(row["name"]), *(text(row) for text in columns.values())] for row in rows],
            frozenset(words[title]),
        )
        for title, columns in tables.items()
    ]


def variant_in_words(config: dict[str, Any]) -> str:
    """Return a run's variant with its settings: "clahe (clip 2, 8 x 8 tiles)", or its reference image."""
    name, held = variant_of(config), _inner(config, "variant")
    if name in ("clahe", "masked") and {"clip", "tiles"} <= set(held):
        return f"{name} (clip {held['clip']:g}, {held['tiles']} x {held['tiles']} tiles)"
    return f"{name} (reference {held['reference']})" if held.get("reference") else name


def augmentation_in_words(augmentation: Any) -> str:
    """Return the random augmentation of training images in words, or "none"."""
    held = augmentation if isinstance(augmentation, dict) else {}
    words = [key.replace("_", " ") for key, value in held.items() if value is True]
    ranges = {key: RANGES.get(key, f"{key} {{}}") for key, value in held.items() if value and value is not True}
    return ", ".join(words + [text.format(held[key]) for key, text in ranges.items()]) or "none"


def _in_each_epoch(config: dict[str, Any]) -> str:
    held = _inner(config, "intervention")
    changed = [f"{name.replace('_', ' ')} {share:.0%}" for name, share in held.items() if share]
    plain = augmentation_in_words(config.get("augmentation"))
    words = changed if plain == "none" and changed else [plain, *changed]
    views = config.get("feature_views")  # used while the base is frozen
    return ", ".join([*words, f"{views} views in turn"] if views and words != ["none"] else words)


def _inner(config: dict[str, Any], name: str) -> dict[str, Any]:
    held = config.get(name)
    return held if isinstance(held, dict) else {}


def _offline(config: dict[str, Any]) -> str:
    held = _inner(config, "offline")
    copies = f"{held['copies']} an image" if held.get("copies") else ""
    words = ", ".join(word for word in (copies, "classes balanced" if held.get("balance") else "") if word)
    return f"{words}: {augmentation_in_words(held.get('augmentation'))}" if words else "none"


def _base(history: list[dict[str, Any]]) -> str:
    frozen = sum(epoch["phase"] == "head" for epoch in history)
    if not frozen:
        return "trained"
    return "frozen" if frozen == len(history) else f"frozen {frozen} epochs, then trained"


def _weighed(config: dict[str, Any], rates: dict[str, float]) -> str:
    whole = bool(config.get("fine_tune_class_weights")) and "whole" in rates
    return "yes" if config.get("class_weights") or (whole and "head" not in rates) else "fine-tuning" if whole else "no"


def _drops(config: dict[str, Any]) -> str:
    every = config.get("rate_drop_every")
    words = [f"x {config['rate_drop']:g} every {every} epochs"] if every else []
    words += [f"warm-up of {config['warmup_epochs']}"] if config.get("warmup_epochs") else []
    return ", ".join(words + (["cosine"] if config.get("cosine") else [])) or "none"


def _rate(key: str) -> Callable[[Row], str]:
    return lambda row: MISSING if row[key] is None else f"{row[key]:g}"


def _whole(key: str) -> Callable[[Row], str]:
    return lambda row: number(row[key], 0)


def _wrapped(key: str, width: int) -> Callable[[Row], str]:
    from textwrap import wrap

    return lambda row: "\n".join(wrap(row[key], width, break_long_words=False, break_on_hyphens=False))
