"""Write a model as ONNX, OpenVINO, LiteRT or SavedModel, in float32 or half precision; int8: quantization.py.

All formats but SavedModel are made from one frozen graph: the inference function with its weights as constants. Half
precision applies to the weights on disk only; every runtime computes in float32, which is fastest on a CPU.
"""

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.engine.backend import keras_backend
from models.engine.export import store as export_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    import keras
    import onnx
    import tensorflow as tf

OPSET = 18  # of ONNX: supported by ONNX Runtime, OpenVINO and browser runtimes since 2024
INPUT, OUTPUT = "image", "probabilities"
WEIGHT_SIZE = 16  # smaller constants stay in float32


def frozen(model: "keras.Model") -> Any:
    """Return the inference of a model as a TensorFlow function of (n, size, size, 3) with its weights as constants."""
    return _with_constants(_call(model).get_concrete_function())


def _with_constants(function: Any) -> Any:
    """Replace the variables of a concrete function by constants; a private function of TensorFlow."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function)


def _repair_tf2onnx() -> None:
    """Make tf2onnx work with NumPy 2; a private function of Keras, which its `model.export` calls too."""
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()


def write_onnx(function: Any, file: Path) -> None:
    """Write a frozen graph as ONNX in float32: "image" (batch, size, size, 3) to "probabilities" (batch, classes)."""
    import onnx
    import onnxruntime
    import tf2onnx

    with quiet():
        _repair_tf2onnx()
        graph, _ = tf2onnx.convert.from_graph_def(
            function.graph.as_graph_def(),
            input_names=[function.inputs[0].name],
            output_names=[function.outputs[0].name],
            opset=OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    _name_ends(graph)
    raw = file.with_name("raw.onnx")
    onnx.save(graph, raw)
    # ONNX Runtime folds constants and removes the transpositions that tf2onnx leaves around every hard swish.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    raw.unlink()


def halve_onnx(onnx_file: Path, file: Path) -> None:
    """Write an ONNX file with its weights in half precision, each followed by a cast to float32.

    Runtimes cast once, when they open the file.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(onnx_file)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        # Integers are shapes and axes; small constants save nothing and may exceed the range of half precision.
        if values.dtype != np.float32 or values.size < WEIGHT_SIZE or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, file)


def write_openvino(onnx_file: Path, file: Path, precision: str = export_store.FLOAT32) -> None:
    """Write an ONNX file as OpenVINO's model.xml and model.bin."""
    import openvino

    openvino.save_model(
        openvino.convert_model(str(onnx_file)), str(file), compress_to_fp16=precision == export_store.FLOAT16
    )


def write_litert(function: Any, file: Path, precision: str = export_store.FLOAT32) -> None:
    """Write a frozen graph as LiteRT."""
    import tensorflow as tf

    with quiet():
        converter = litert_converter(function)
        if precision == export_store.FLOAT16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    file.write_bytes(content)


def litert_converter(function: Any) -> "tf.lite.TFLiteConverter":
    """Return the LiteRT converter of a frozen graph; it prints logs, so use it inside `quiet`."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_concrete_functions([function])


def write_saved_model(model: "keras.Model", folder: Path) -> None:
    """Write a model as SavedModel with the endpoint `serve`, as Keras does.

    `model.export` of Keras stores every weight twice.
    """
    import tensorflow as tf

    holder = tf.Module()
    holder.weights = [weight.value for weight in model.variables]
    holder.serve = _call(model)
    with quiet():
        tf.saved_model.save(holder, str(folder), signatures={"serving_default": holder.serve})


def _call(model: "keras.Model") -> Any:
    import tensorflow as tf

    signature = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)
    return tf.function(lambda image: model(image, training=False), input_signature=[signature])


@contextmanager
def quiet() -> "Iterator[None]":
    """Silence logs and warnings of the converters; errors are raised as before."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with keras_backend.stderr_of_libraries_closed(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Convert erfc(x), of the exact GELU in Keras, to 1 - erf(x): ONNX has no erfc."""
    node.type = "Erf"
    output = node.output[0]
    users = context.find_output_consumers(output)
    one = context.make_const(f"{name}_one", np.array(1, np.float32)).output[0]
    shape, kind = [context.get_shape(output)], [context.get_dtype(output)]
    left = context.make_node("Sub", [one, output], shapes=shape, dtypes=kind)
    for user in users:
        context.replace_input(user, output, left.output[0])


def _name_ends(model: "onnx.ModelProto") -> None:
    """Name the input and the output, and their first axis "batch"."""
    graph = model.graph
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for end in (graph.input[0], graph.output[0]):
        end.name = names[end.name]
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
