"""Start Keras quietly and repeatably on TensorFlow or JAX; devices, threads, precision, out-of-memory errors."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from models.engine.backend import jax_backend
from utils.errors import LeukoBenchError
from utils.system import environment, optional_packages

# TensorFlow and abseil write long start-up logs to stderr; errors are still shown.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}
BACKENDS = ("tensorflow", "jax")
READ_LOSS_EVERY = 0.25  # seconds, on a GPU


def start(seed: int | None = None) -> None:
    """Import Keras; make every later operation repeatable on one machine and thread count.

    Args:
        seed: of the initial weights; None leaves the random state alone.

    Raises:
        LeukoBenchError: KERAS_BACKEND names no backend of BACKENDS, or one that is not installed.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    if _checked_backend() == "tensorflow":
        _start_tensorflow()
    else:
        jax_backend.start()
    environment.note_import_memory()
    import keras

    # Both warnings concern correct calls: batches are shuffled already, and tf-keras-vis wraps inputs in a list.
    for known in (r".*`shuffle=True` was passed, but will be ignored", r"The structure of `inputs` doesn't match"):
        warnings.filterwarnings("ignore", message=known)
    if seed is not None:
        keras.utils.set_random_seed(seed)


def backend() -> str:
    """Return the backend of Keras: "tensorflow" or "jax"."""
    import keras

    return keras.config.backend()


def need_tensorflow(what: str) -> None:
    """Start Keras; raise LeukoBenchError unless it runs on TensorFlow, which `what` ("A heatmap") needs."""
    start()
    if backend() != "tensorflow":
        raise LeukoBenchError(
            f"{what} needs TensorFlow, but KERAS_BACKEND is {backend()}. Unset KERAS_BACKEND where TensorFlow is "
            "installed (pip install -r requirements.txt), and run it again."
        )


def _checked_backend() -> str:
    """Return the backend that Keras has or will have, without importing Keras, which would import TensorFlow."""
    if "keras" in sys.modules:  # it reads the variable only once
        os.environ["KERAS_BACKEND"] = backend()
    named = os.environ.get("KERAS_BACKEND") or "tensorflow"
    os.environ["KERAS_BACKEND"] = named  # overrides a keras.json in the home folder
    if named not in BACKENDS:
        raise LeukoBenchError(f"KERAS_BACKEND received '{named}'. Valid: {', '.join(BACKENDS)}.")
    if not optional_packages.installed(named):
        if named == "tensorflow" and optional_packages.installed("jax"):
            raise LeukoBenchError("TensorFlow is not installed. Set KERAS_BACKEND=jax to train and evaluate with JAX.")
        file = "requirements.txt" if named == "tensorflow" else "requirements-extra.txt"
        raise LeukoBenchError(f"KERAS_BACKEND={named} needs the package '{named}'. Run: pip install -r {file}")
    if named == "jax":
        jax_backend.prepare()
    return named


def _start_tensorflow() -> None:
    with stderr_of_libraries_closed():
        import tensorflow as tf

        tf.config.list_physical_devices()
    tf.get_logger().setLevel("ERROR")
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    # Newer GPUs round float32 products to ten bits by default; a run would then not verify on another machine.
    tf.config.experimental.enable_tensor_float_32_execution(False)


@contextmanager
def stderr_of_libraries_closed() -> Iterator[None]:
    """Silence start-up logs of the C++ libraries, which read no setting that early."""
    saved = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(devnull)


def device_name() -> str:
    """Return "CPU" or the names of the visible GPUs (with JAX, TPUs as well)."""
    if backend() == "jax":
        return jax_backend.device_name()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join(names) or "CPU"


def look_every() -> float:
    """Return the seconds between reads of the loss in training: a GPU idles during a read, a CPU does not."""
    return 0.0 if device_name() == "CPU" else READ_LOSS_EVERY


def threads() -> int:
    """Return the threads that one operation may use."""
    if backend() == "jax":
        return environment.usable_cores()
    import tensorflow as tf

    limit = os.environ.get("TF_NUM_INTRAOP_THREADS", "")  # which TensorFlow uses but does not report
    configured = tf.config.threading.get_intra_op_parallelism_threads() or (int(limit) if limit.isdecimal() else 0)
    return configured or environment.usable_cores()


def deterministic() -> bool:
    """Say whether the same run on this machine gives the same bytes."""
    return jax_backend.deterministic() if backend() == "jax" else True  # `start` has enabled it in TensorFlow


def made_by() -> str:
    """Return the backend with its release, which decides the last digits of a feature."""
    from importlib import metadata

    return metadata.version("tensorflow") if backend() == "tensorflow" else f"jax {metadata.version('jax')}"


def resolve_precision(precision: str) -> str:
    """Return the Keras dtype policy for "auto": half precision on a GPU with tensor cores, float32 elsewhere."""
    if precision != "auto":
        return precision
    if backend() == "jax":
        return jax_backend.precision()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    # Tensor cores exist from compute capability 7.0 (Volta) on.
    tensor_cores = bool(details) and all(d.get("compute_capability", (0, 0)) >= (7, 0) for d in details)
    return "mixed_float16" if tensor_cores else "float32"


class OutOfMemory(LeukoBenchError):
    """The device has too little memory."""


@contextmanager
def enough_memory(doing: str, remedy: str) -> Iterator[None]:
    """Turn an error about the device's memory into one line with the remedy.

    Raises:
        OutOfMemory: the device has too little memory.
    """
    try:
        yield
    except Exception as problem:
        if not ran_out(problem):
            raise
        raise OutOfMemory(f"{doing} ran out of memory on {device_name()}. {remedy}") from None


def ran_out(problem: BaseException) -> bool:
    """Say whether an error of the backend means that a device has too little memory."""
    if backend() == "jax":
        return jax_backend.ran_out(problem)
    import tensorflow as tf

    return isinstance(problem, tf.errors.ResourceExhaustedError)


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build layers under a dtype policy, then restore the previous one."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
