"""Keras, started quietly and repeatably, and the precision that a device deserves."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from utils import environment
from utils.errors import LeukoBenchError

# TensorFlow and abseil write walls of start-up notes to stderr; errors still come through.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}


def start(seed: int | None = None) -> None:
    """Import Keras and make every later operation repeatable on one machine and thread count.

    Args:
        seed: of the initial weights; None leaves the random state alone.
    """
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    with _stderr_of_libraries_closed():
        import tensorflow as tf

        tf.config.list_physical_devices()
    import keras

    tf.get_logger().setLevel("ERROR")
    # Keras says both of calls that are right: batches come in our own order, and tf-keras-vis wraps inputs in a list.
    for known in (r".*`shuffle=True` was passed, but will be ignored", r"The structure of `inputs` doesn't match"):
        warnings.filterwarnings("ignore", message=known)
    environment.note_import_memory()
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            tf.config.experimental.set_memory_growth(gpu, True)
    tf.config.experimental.enable_op_determinism()
    # Newer GPUs round float32 products to ten bits by default; then a run would not verify on another machine.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if seed is not None:
        keras.utils.set_random_seed(seed)


@contextmanager
def _stderr_of_libraries_closed() -> Iterator[None]:
    """Send file descriptor 2 to nowhere while the C++ libraries greet, since they read no setting that early."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def device_name() -> str:
    """Return "CPU" or the names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
    return ", ".join(names) or "CPU"


def threads() -> int:
    """Return the threads that one operation may use."""
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads() or environment.usable_cores()


def resolve_precision(precision: str) -> str:
    """Return the Keras dtype policy for "auto": mixed_float16 on a GPU with tensor cores, float32 elsewhere."""
    if precision != "auto":
        return precision
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    # Tensor cores came with compute capability 7.0 (Volta).
    tensor_cores = bool(details) and all(d.get("compute_capability", (0, 0)) >= (7, 0) for d in details)
    return "mixed_float16" if tensor_cores else "float32"


class OutOfMemory(LeukoBenchError):
    """The device has too little memory."""


@contextmanager
def enough_memory(doing: str, remedy: str) -> Iterator[None]:
    """Say in one line what ran out of the device's memory, and what to do.

    Raises:
        OutOfMemory: TensorFlow could not place a tensor.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OutOfMemory(f"{doing} ran out of memory on {device_name()}. {remedy}") from None


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Build layers under a dtype policy and put the policy of before back."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
