"""Inference time of every model in Keras and as export in other runtimes."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

import models
from benchmarks.program import Options, alternate, entry
from benchmarks.results import Claim, Column, Plot, Result, Series, Sheet, Spread, ratios
from models import keras_applications
from models.engine import launcher
from models.engine.backend import keras_backend
from models.engine.evaluation import efficiency
from models.engine.export import converters, quantization, runtimes
from models.engine.export import store as export_store
from utils import console
from utils.errors import LeukoBenchError
from utils.system import timing

CLASSES = ("a", "b", "c", "d")
PREDICT, ON_BATCH, COMPILED = "model.predict", "predict_on_batch", "tf.function"
EXPORTS = tuple(
    f"{format}-{precision}" for format in ("onnx", "openvino", "litert") for precision in ("float32", "int8")
)
CALIBRATION = 16  # images; the speed of int8 does not depend on its ranges
LARGEST = 128  # px; larger images are reduced to this size, so that 32 of them take seconds
SMALL = 1e9  # floating-point operations per image; models below are called small
ONE, MANY = 1, 32
FLOATS = tuple(each for each in EXPORTS if each.endswith(export_store.FLOAT32))


def measure(options: Options) -> Result:
    """Time every model in every runtime."""
    names = [*models.names(), keras_applications.EXAMPLE.rpartition(" ")[2]]
    names = options.pick(names, [name for name in names if models.config_for(name).image_size <= LARGEST])
    batches = options.pick({ONE: (5, 0.4), MANY: (3, 0.8)}, {ONE: (2, 0.05), MANY: (2, 0.05)})
    measured, notes = _measured(names, batches)
    return Result(
        "Inference: exports beside Keras",
        f"Every model with random weights and {len(CLASSES)} classes, its own image size up to {LARGEST} px, in "
        "a process of its own, on the CPU with one thread per core. The baseline is Keras' predict_on_batch; the "
        "runtimes are timed in turn, in blocks of calls. OpenVINO in int8 reads the model quantised for ONNX. With "
        "random weights int8 shows speed only, not accuracy; therefore the best float32 export is listed as well.",
        _claims(measured),
        [_latency(measured), _throughput(measured)],
        _plots(measured),
        notes + _failures(measured),
    )


def _measured(names: Sequence[str], batches: dict[int, tuple[int, float]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the measurements of each model, and notes about models that could not be measured."""
    measured, notes = [], []
    for name in names:
        try:
            measured.append(measured_apart(name, _size(name), batches))
        except LeukoBenchError as problem:  # keep the results of the other models
            console.error(str(problem))
            notes.append(f"{name} was not measured: its process ended with an error.")
    if not measured:
        raise LeukoBenchError("No model could be measured; see the errors above.")
    return measured, notes


def measured_apart(name: str, size: int, batches: dict[int, tuple[int, float]]) -> dict[str, Any]:
    """Call `measured` in a process of its own, which frees its memory when it ends.

    Raises:
        LeukoBenchError: the process failed.
    """
    code = "import sys, json; from benchmarks import inference as m; m.report(*json.loads(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as place:
        target = Path(place) / "measured.json"
        arguments = json.dumps([name, size, {str(batch): how for batch, how in batches.items()}, str(target)])
        done = subprocess.run([sys.executable, "-c", code, arguments], env=launcher.environment(), check=False)
        if done.returncode:
            raise LeukoBenchError(f"Measuring {name} ended with exit code {done.returncode}; see the error above.")
        return json.loads(target.read_text(encoding="utf-8"))


def report(name: str, size: int, batches: dict[str, list[float]], target: str) -> None:
    """Write the result of `measured` as JSON."""
    how = {int(batch): (int(repetitions), seconds) for batch, (repetitions, seconds) in batches.items()}
    Path(target).write_text(json.dumps(measured(name, size, how)), encoding="utf-8")


def measured(name: str, size: int, batches: dict[int, tuple[int, float]]) -> dict[str, Any]:
    """Build a model with random weights, convert it and time every runtime.

    Args:
        name: name of the model.
        size: side of its images in pixels; 0 for its own.
        batches: by batch size, number of repetitions and seconds for one runtime in each of them.

    Returns:
        "model", "size", "flops", "parameters", "failed" (reason by export), "bytes" (by export), and "seconds": by
        batch size and runtime, for each repetition the list of the seconds of every call.
    """
    keras_backend.start(42)
    config = models.config_for(name, classes=CLASSES, weights="none", **({"image_size": size} if size else {}))
    with keras_backend.dtype_policy("float32"):
        model = models.build(config, initial_weights=False)
    console.say(f"{name}, {config.image_size} px")
    side = config.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (max(batches), side, side, 3)).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        made, failed = _converted(model, pixels[:CALIBRATION], Path(place))
        ways = _keras_ways(model)
        for each in made:
            try:
                ways[each] = runtimes.open_files(Path(place) / each, _format(each)).predict
                for batch in batches:
                    ways[each](pixels[:batch])
            except (LeukoBenchError, RuntimeError, ValueError) as error:
                ways.pop(each, None)
                failed[each] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        seconds = {batch: _timed(ways, pixels[:batch], *how) for batch, how in batches.items()}
    return {
        "model": name,
        "size": side,
        "flops": efficiency.flops(model),
        "parameters": model.count_params(),
        "failed": failed,
        "bytes": made,
        "seconds": seconds,
    }


def _keras_ways(model: Any) -> dict[str, Callable[[np.ndarray], Any]]:
    import tensorflow as tf

    compiled = tf.function(
        lambda image: model(image, training=False), input_signature=[tf.TensorSpec((None, *model.input_shape[1:]))]
    )
    return {
        PREDICT: lambda pixels: model.predict(pixels, verbose=0),
        ON_BATCH: model.predict_on_batch,
        COMPILED: lambda pixels: compiled(pixels).numpy(),
    }


def _converted(model: Any, pixels: np.ndarray, place: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Write every export of EXPORTS into folders below `place`; return their sizes in bytes, and errors of others."""
    function = converters.frozen(model)

    @cache
    def plain() -> Path:
        file = place / "plain.onnx"
        converters.write_onnx(function, file)
        return file

    @cache
    def small() -> Path:
        file = place / "small.onnx"
        quantization.write_onnx(plain(), file, pixels)
        return file

    steps: dict[str, Callable[[Path], None]] = {
        "onnx-float32": lambda file: file.hardlink_to(plain()),
        "onnx-int8": lambda file: file.hardlink_to(small()),
        "openvino-float32": lambda file: converters.write_openvino(plain(), file),
        "openvino-int8": lambda file: converters.write_openvino(small(), file),
        "litert-float32": lambda file: converters.write_litert(function, file),
        "litert-int8": lambda file: quantization.write_litert(function, file, pixels),
    }
    made, failed = {}, {}
    for name in EXPORTS:
        folder = place / name
        folder.mkdir()
        try:
            steps[name](folder / export_store.FILES[_format(name)])
            made[name] = export_store.size(folder, _format(name))
        except Exception as error:  # keep the results of the other converters
            failed[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return made, failed


def _timed(
    ways: dict[str, Callable[[np.ndarray], Any]], pixels: np.ndarray, repetitions: int, budget: float
) -> dict[str, list[list[float]]]:
    """Return the seconds of every call, by runtime and repetition; runtimes are timed in turn, in blocks of calls.

    Runtimes keep their threads busy for a while after a call, which would slow down the next runtime's first calls.
    """
    calls: dict[str, list[list[float]]] = {name: [] for name in ways}

    def block(name: str) -> float:
        ask, found, end = ways[name], [], perf_counter() + budget
        ask(pixels)  # wakes the threads
        while not found or (perf_counter() < end and len(found) < 200):
            start = perf_counter()
            ask(pixels)
            found.append(perf_counter() - start)
        calls[name].append(found)
        return sorted(found)[len(found) // 2]

    for ask in ways.values():  # compiles, and allocates memory
        ask(pixels)
    alternate({name: (lambda name=name: block(name)) for name in ways}, repetitions)
    return calls


def _format(name: str) -> str:
    return name.rpartition("-")[0]


def _size(name: str) -> int:
    return min(models.config_for(name).image_size, LARGEST)


def _medians(found: Mapping[str, Any], batch: int) -> dict[str, list[float]]:
    """Return the median seconds of a call in every repetition, by way."""
    by_batch = {int(each): ways for each, ways in found["seconds"].items()}[batch]
    return {way: [median(calls) for calls in repetitions] for way, repetitions in by_batch.items()}


def _best(found: Mapping[str, Any], batch: int, ways: Sequence[str]) -> tuple[str, Spread] | None:
    """Return the fastest export of a model and the ratio of predict_on_batch's time to it; None without exports."""
    seconds = _medians(found, batch)
    name = min((way for way in ways if way in seconds), key=lambda way: median(seconds[way]), default="")
    return (name, ratios(seconds[ON_BATCH], seconds[name])) if name else None


def _ratios(found: Mapping[str, Any], batch: int) -> dict[str, float | None]:
    best = {"float_ratio": _best(found, batch, FLOATS), "ratio": _best(found, batch, EXPORTS)}
    return {key: each and each[1].median for key, each in best.items()}


def _claims(measured: Sequence[Mapping[str, Any]]) -> list[Claim]:
    small = [found for found in measured if found["flops"] <= SMALL]
    targets = [
        ("One image", ONE, 3, measured),
        ("One image, small models", ONE, 20, small),
        ("32 images", MANY, 1.5, measured),
    ]
    claims = []
    for what, batch, bound, among in targets:
        for kind, ways in (("the best float32 export", FLOATS), ("the best export", EXPORTS)):
            best = [(found, *each) for found in among if (each := _best(found, batch, ways))]
            if not best:
                continue
            least, way, ratio = min(best, key=lambda each: each[2].median)
            why = f"Lowest of {len(best)} models: {least['model']} with {way}. "
            why += _ceiling(least, bound, measured, batch, ways)
            claims.append(Claim(f"{what}: predict_on_batch / {kind}, every model", "x", bound, ratio, why=why))
    return claims


def _ceiling(
    found: Mapping[str, Any], bound: float, measured: Sequence[Mapping[str, Any]], batch: int, ways: Sequence[str]
) -> str:
    """Describe the operations a second needed for a ratio of `bound`, and the most that any export reaches."""

    def rate(one: Mapping[str, Any], way: str) -> float:
        return one["flops"] * batch / median(_medians(one, batch)[way]) / 1e9

    most, model = max((rate(one, way), one["model"]) for one in measured for way in ways if way in _medians(one, batch))
    asked = bound * rate(found, ON_BATCH)
    return (
        f"For x {bound:g} it would need {asked:,.0f} billion operations a second; the most that one of these exports "
        f"of any model reaches on this processor is {most:,.0f} ({model})"
    )


def _latency(measured: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = [Column("model", "Model"), Column("size", "Pixels", 0), Column("mflops", "Million operations", 0)]
    columns += [Column(way, way, 2) for way in (PREDICT, ON_BATCH, COMPILED, *EXPORTS)]
    columns += [Column("float_ratio", "Best float32, x", 1), Column("ratio", "Best, x", 1)]
    rows = []
    for found in measured:
        seconds = _medians(found, ONE)
        row = {"model": found["model"], "size": found["size"], "mflops": found["flops"] / 1e6}
        row |= {way: f"{1e3 * median(each):.2f} ({_p95(found, way):.2f})" for way, each in seconds.items()}
        row |= {way: "failed" for way in found["failed"]}
        row |= _ratios(found, ONE)
        rows.append(row)
    below = "Milliseconds, median of the repetitions' medians; in brackets the 95th percentile of all calls. The last "
    below += "two columns: time of predict_on_batch / time of the fastest export."
    columns = [Column(c.key, c.heading) if c.key in (*EXPORTS, *_keras()) else c for c in columns]
    return Sheet("One image: milliseconds", columns, rows, below)


def _keras() -> tuple[str, ...]:
    return PREDICT, ON_BATCH, COMPILED


def _p95(found: Mapping[str, Any], way: str) -> float:
    by_batch = {int(each): ways for each, ways in found["seconds"].items()}[ONE][way]
    return 1e3 * timing.percentile(sorted(call for calls in by_batch for call in calls), 0.95)


def _throughput(measured: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = [Column("model", "Model"), Column("size", "Pixels", 0)]
    columns += [Column(way, way, 1) for way in (*_keras(), *EXPORTS)]
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
        for way in (ON_BATCH, COMPILED, *FLOATS, "onnx-int8"):
            timed = [(found, _medians(found, batch).get(way)) for found in ordered]
            points = [(found["flops"] / 1e6, 1e3 * median(each) / batch) for found, each in timed if each]
            if points:
                x, y = zip(*points, strict=True)
                series.append(Series(way, list(x), list(y)))
        plots.append(Plot(title, "Million operations per image", "Milliseconds per image", series, "xy"))
    return plots


def _failures(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{found['model']} as {name}: {why}" for found in measured for name, why in found["failed"].items()]


if __name__ == "__main__":
    entry("inference", measure)
