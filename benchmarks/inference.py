"""How fast a trained model answers, in Keras and exported to other runtimes."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import models
from benchmarks import inference_models as parts
from benchmarks.recording import Claim, Column, Options, Plot, Result, Series, Sheet, Spread, entry, ratios
from models import keras_applications
from models.engine.export import store as export_store
from utils import console
from utils.errors import LeukoBenchError
from utils.system import timing

LARGEST = 128  # px: models whose own images are larger are measured at this size, so that 32 of them take seconds
SMALL = 1e9  # floating-point operations of one image up to which a model is a small one
ONE, MANY = 1, 32
FLOATS = tuple(each for each in parts.EXPORTS if each.endswith(export_store.FLOAT32))


def measure(options: Options) -> Result:
    """Time every model in every runtime, and export the runs that there are."""
    names = [*models.names(), keras_applications.EXAMPLE.rpartition(" ")[2]]
    names = options.pick(names, [name for name in names if models.config_for(name).image_size <= LARGEST])
    batches = options.pick({ONE: (5, 0.4), MANY: (3, 0.8)}, {ONE: (2, 0.05), MANY: (2, 0.05)})
    measured, unmeasured = _measured(names, batches)
    return Result(
        "Inference: exports beside Keras",
        f"Every model with random weights and {len(parts.CLASSES)} classes, its own image size up to {LARGEST} px, in "
        "a process of its own, on the CPU with a thread a core. The straightforward way is Keras' predict_on_batch; "
        "the ways take turns in blocks of calls. OpenVINO in int8 reads what was quantised for ONNX. With random "
        "weights int8 shows its speed alone, so that the best float32 export is a claim of its own.",
        _claims(measured),
        [_latency(measured), _throughput(measured)],
        _plots(measured),
        unmeasured + _failures(measured),
    )


def _measured(names: Sequence[str], batches: dict[int, tuple[int, float]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return what was measured of each model, and in words of which nothing could be."""
    measured, notes = [], []
    for name in names:
        try:
            measured.append(parts.measured_apart(name, _size(name), batches))
        except LeukoBenchError as problem:  # one model takes no other's figures with it
            console.error(str(problem))
            notes.append(f"{name} was not measured: its process ended with an error.")
    if not measured:
        raise LeukoBenchError("No model could be measured; the reasons stand above.")
    return measured, notes


def _size(name: str) -> int:
    return min(models.config_for(name).image_size, LARGEST)


def _medians(found: Mapping[str, Any], batch: int) -> dict[str, list[float]]:
    """Return the median seconds of a call in every repetition, by way."""
    held = {int(each): ways for each, ways in found["seconds"].items()}[batch]
    return {way: [median(calls) for calls in repetitions] for way, repetitions in held.items()}


def _best(found: Mapping[str, Any], batch: int, ways: Sequence[str]) -> tuple[str, Spread] | None:
    """Return the fastest export of a model, and how many times longer predict_on_batch takes; None without any."""
    seconds = _medians(found, batch)
    name = min((way for way in ways if way in seconds), key=lambda way: median(seconds[way]), default="")
    return (name, ratios(seconds[parts.ON_BATCH], seconds[name])) if name else None


def _ratios(found: Mapping[str, Any], batch: int) -> dict[str, float | None]:
    best = {"float_ratio": _best(found, batch, FLOATS), "ratio": _best(found, batch, parts.EXPORTS)}
    return {key: each and each[1].median for key, each in best.items()}


def _claims(measured: Sequence[Mapping[str, Any]]) -> list[Claim]:
    small = [found for found in measured if found["flops"] <= SMALL]
    asked = [
        ("One image", ONE, 3, measured),
        ("One image, small models", ONE, 20, small),
        ("32 images", MANY, 1.5, measured),
    ]
    claims = []
    for words, batch, bound, among in asked:
        for kind, ways in (("the best float32 export", FLOATS), ("the best export", parts.EXPORTS)):
            best = [(found, *each) for found in among if (each := _best(found, batch, ways))]
            if not best:
                continue
            least, way, ratio = min(best, key=lambda each: each[2].median)
            why = f"The least of {len(best)} models, {least['model']}, with {way}. "
            why += _ceiling(least, bound, measured, batch, ways)
            claims.append(Claim(f"{words}: predict_on_batch / {kind}, every model", "x", bound, ratio, why=why))
    return claims


def _ceiling(
    found: Mapping[str, Any], bound: float, measured: Sequence[Mapping[str, Any]], batch: int, ways: Sequence[str]
) -> str:
    """Say how fast a model would have to compute to be `bound` times faster, and how fast any export computes here."""

    def rate(one: Mapping[str, Any], way: str) -> float:
        return one["flops"] * batch / median(_medians(one, batch)[way]) / 1e9

    most, model = max((rate(one, way), one["model"]) for one in measured for way in ways if way in _medians(one, batch))
    asked = bound * rate(found, parts.ON_BATCH)
    return (
        f"For x {bound:g} it would have to do {asked:,.0f} billion operations a second; the most that one of these "
        f"exports of any model does on this processor is {most:,.0f} ({model})"
    )


def _latency(measured: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = [Column("model", "Model"), Column("size", "Pixels", 0), Column("mflops", "Million operations", 0)]
    columns += [Column(way, way, 2) for way in (parts.PREDICT, parts.ON_BATCH, parts.COMPILED, *parts.EXPORTS)]
    columns += [Column("float_ratio", "Best float32, x", 1), Column("ratio", "Best, x", 1)]
    rows = []
    for found in measured:
        seconds = _medians(found, ONE)
        row = {"model": found["model"], "size": found["size"], "mflops": found["flops"] / 1e6}
        row |= {way: f"{1e3 * median(each):.2f} ({_p95(found, way):.2f})" for way, each in seconds.items()}
        row |= {way: "failed" for way in found["failed"]}
        row |= _ratios(found, ONE)
        rows.append(row)
    words = "Milliseconds, median of the repetitions' medians, in brackets the 95th percentile of all calls. The last "
    words += "two columns: how many times longer predict_on_batch takes than the fastest export."
    columns = [Column(c.key, c.heading) if c.key in (*parts.EXPORTS, *_keras()) else c for c in columns]
    return Sheet("One image: milliseconds", columns, rows, words)


def _keras() -> tuple[str, ...]:
    return parts.PREDICT, parts.ON_BATCH, parts.COMPILED


def _p95(found: Mapping[str, Any], way: str) -> float:
    held = {int(each): ways for each, ways in found["seconds"].items()}[ONE][way]
    return 1e3 * timing.percentile(sorted(call for calls in held for call in calls), 0.95)


def _throughput(measured: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = [Column("model", "Model"), Column("size", "Pixels", 0)]
    columns += [Column(way, way, 1) for way in (*_keras(), *parts.EXPORTS)]
    columns += [Column("float_ratio", "Best float32, x", 2), Column("ratio", "Best, x", 2)]
    rows = []
    for found in measured:
        row = {"model": found["model"], "size": found["size"]}
        row |= {way: MANY / median(each) for way, each in _medians(found, MANY).items()}
        row |= _ratios(found, MANY)
        rows.append(row)
    return Sheet(f"{MANY} images at once: images a second", columns, rows)


def _plots(measured: Sequence[Mapping[str, Any]]) -> list[Plot]:
    ordered = sorted(measured, key=lambda found: found["flops"])
    plots = []
    for batch, title in ((ONE, "One image"), (MANY, f"{MANY} images at once")):
        series = []
        for way in (parts.ON_BATCH, parts.COMPILED, *FLOATS, "onnx-int8"):
            held = [(found, _medians(found, batch).get(way)) for found in ordered]
            points = [(found["flops"] / 1e6, 1e3 * median(each) / batch) for found, each in held if each]
            if points:
                x, y = zip(*points, strict=True)
                series.append(Series(way, list(x), list(y)))
        plots.append(Plot(title, "million operations of one image", "milliseconds for an image", series, "xy"))
    return plots


def _failures(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{found['model']} as {name}: {why}" for found in measured for name, why in found["failed"].items()]


if __name__ == "__main__":
    entry("inference", measure)
