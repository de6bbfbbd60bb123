"""Inference with exports by their own runtimes; only that of a SavedModel imports TensorFlow."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from models.engine.backend import keras_backend
from models.engine.export import store as export_store
from models.engine.run_io.run_loader import BATCH
from utils.errors import LeukoBenchError
from utils.runs.run_folder import Run
from utils.system import environment

if TYPE_CHECKING:
    import openvino


class Runtime(Protocol):
    """An opened export."""

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return (n, classes) float32 probabilities of (n, size, size, 3) float32 RGB in 0-255, n at least 1."""
        ...


def open_export(run: Run, name: str) -> Runtime:
    """Open an export of a run.

    Raises:
        LeukoBenchError: the export is missing, stale or damaged, or its runtime is not installed.
    """
    held = export_store.read(run, name)
    return open_files(export_store.folder(run, name), held["format"])


def open_files(folder: Path, format: str, threads: int = 0) -> Runtime:
    """Open the files of an export.

    Args:
        folder: folder of the files.
        format: key of `store.PRECISIONS`.
        threads: for one batch; 0 for one per core.

    Raises:
        LeukoBenchError: its runtime is not installed or cannot read the files.
    """
    export_store.need(format)
    try:
        opened = _KINDS[format](folder / export_store.FILES[format], threads or environment.usable_cores())
    except Exception as error:
        raise _runtime_error(error, f"{folder} cannot be opened", "Make the export again.") from None
    return _OneLineErrors(opened, folder)


class _OneLineErrors:
    """A runtime whose errors during inference are LeukoBenchErrors."""

    def __init__(self, opened: Runtime, folder: Path) -> None:
        self._opened, self._folder = opened, folder

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        try:
            return self._opened.predict(np.ascontiguousarray(pixels, np.float32))
        except Exception as error:
            advice = "Make the export again, or take another format or precision."
            raise _runtime_error(error, f"{self._folder} failed", advice) from None


def _runtime_error(error: Exception, what: str, advice: str) -> Exception:
    """Return an error of a runtime as LeukoBenchError, any other error unchanged."""
    # The errors of ONNX Runtime have no public class.
    if not isinstance(error, (RuntimeError, ValueError, OSError)) and (
        not type(error).__module__.startswith("onnxruntime")
    ):
        return error
    return LeukoBenchError(f"{what} ({' '.join(str(error).split())[:160]}). {advice}")


class _Onnx:
    def __init__(self, file: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # Processors without VNNI sum products in 16 bits, which can overflow; this avoids it.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        return self._session.run(None, {self._input: pixels})[0]


class _OpenVino:
    """Compiled for batches of 1 and of BATCH images: a dynamic batch size is several times slower."""

    def __init__(self, file: Path, threads: int) -> None:
        import openvino

        self._core, self._threads = openvino.Core(), threads
        self._model = self._core.read_model(str(file))
        self._requests: dict[int, Any] = {}
        self._request(1)

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        if len(pixels) in (1, BATCH):
            return self._infer(pixels)
        whole = len(pixels) - len(pixels) % BATCH
        parts = [self._infer(pixels[k : k + BATCH]) for k in range(0, whole, BATCH)]
        return np.concatenate(parts + [self._infer(pixels[k : k + 1]) for k in range(whole, len(pixels))])

    def _infer(self, pixels: np.ndarray) -> np.ndarray:
        return self._request(len(pixels)).infer({0: pixels}, share_inputs=True)[0]

    def _request(self, images: int) -> "openvino.InferRequest":
        if images not in self._requests:
            model = self._model.clone()
            model.reshape([images, *list(model.inputs[0].partial_shape)[1:]])
            settings = {
                "INFERENCE_PRECISION_HINT": "f32",  # otherwise bfloat16 on processors that support it
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": self._threads,
            }
            self._requests[images] = self._core.compile_model(model, "CPU", settings).create_infer_request()
        return self._requests[images]


class _LiteRt:
    def __init__(self, file: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_path=str(file), num_threads=threads)  # uses XNNPACK
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._images = 0

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        if len(pixels) != self._images:
            self._interpreter.resize_tensor_input(self._input, pixels.shape)
            # XNNPACK logs its first start.
            with keras_backend.stderr_of_libraries_closed() if not self._images else nullcontext():
                self._interpreter.allocate_tensors()
            self._images = len(pixels)
        self._interpreter.set_tensor(self._input, pixels)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


class _SavedModel:
    def __init__(self, file: Path, threads: int) -> None:
        keras_backend.need_tensorflow("A SavedModel")
        import tensorflow as tf

        self._loaded = tf.saved_model.load(str(file.parent))  # keeps the variables alive

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        return self._loaded.serve(pixels).numpy()


_KINDS = {"onnx": _Onnx, "openvino": _OpenVino, "litert": _LiteRt, "saved_model": _SavedModel}
