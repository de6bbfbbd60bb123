"""JAX under Keras: repeatable settings, devices, precision, FLOPs, out-of-memory errors."""

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax
    import keras

DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
# Read when the first device is opened. Without the second, JAX takes most of a GPU's memory at once.
SETTINGS = {"XLA_FLAGS": DETERMINISTIC, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def prepare() -> None:
    """Set the environment variables of JAX before it is imported; values set by the user stay."""
    for name, value in SETTINGS.items():
        held = os.environ.get(name, "")
        if name == "XLA_FLAGS" and "xla_gpu_deterministic_ops" not in held:
            os.environ[name] = f"{held} {value}".strip()
        elif not held:
            os.environ[name] = value


def start() -> None:
    """Open the devices; float32 products keep full precision, as with TensorFlow."""
    import jax

    # GPUs and TPUs round float32 products by default; a run would then not verify on another machine.
    jax.config.update("jax_default_matmul_precision", "highest")
    jax.devices()


def deterministic() -> bool:
    """Say whether the same run gives the same bytes: always on a CPU, on a GPU with the deterministic setting."""
    return all(device.platform in ("cpu", "tpu") for device in devices()) or DETERMINISTIC in os.environ["XLA_FLAGS"]


def devices() -> "list[jax.Device]":
    """Return the devices of the best available kind: TPUs, GPUs or the CPU."""
    import jax

    return jax.devices()


def device_name() -> str:
    """Return "CPU", or the names of the GPUs or TPUs."""
    return ", ".join(each.device_kind for each in devices() if each.platform != "cpu") or "CPU"


def precision() -> str:
    """Return the policy for "auto": bfloat16 where the hardware has it, float16 on older tensor cores, else float32.

    bfloat16 has the range of float32, so that the loss needs no scaling; GPUs have it from Ampere (8.0) on.
    """
    kinds = {device.platform for device in devices()}
    if kinds == {"tpu"}:
        return "mixed_bfloat16"
    if kinds != {"gpu"}:
        return "float32"
    capability = min(float(getattr(device, "compute_capability", 0) or 0) for device in devices())
    return "mixed_bfloat16" if capability >= 8 else "mixed_float16" if capability >= 7 else "float32"


def ran_out(error: BaseException) -> bool:
    """Say whether an error of JAX means that a device has too little memory."""
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def flops(model: "keras.Model") -> int | None:
    """Return the floating-point operations of one image by JAX' cost analysis; None if unavailable."""
    import jax

    def call(weights: "list[jax.Array]", others: "list[jax.Array]", image: "jax.Array") -> "jax.Array":
        return model.stateless_call(weights, others, image, training=False)[0]

    state = [[v.value for v in held] for held in (model.trainable_variables, model.non_trainable_variables)]
    image = jax.ShapeDtypeStruct((1, *model.input_shape[1:]), np.float32)
    try:
        counted = jax.jit(call).lower(*state, image).cost_analysis()["flops"]
    except (KeyError, TypeError, NotImplementedError, jax.errors.JaxRuntimeError):
        return None
    return int(counted)
