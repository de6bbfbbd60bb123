"""From an opened model to the files of an export in float32 or half precision; int8 is in quantization.py.

Every format but SavedModel is made from one frozen graph: the model's inference with its weights as constants. Half
precision means the weights on disk alone; every runtime computes in float32, which is what a CPU is fast at.
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

OPSET = 18  # of ONNX: what ONNX Runtime, OpenVINO and the browsers' runtimes of 2024 and later read
INPUT, OUTPUT = "image", "probabilities"
SEVERAL = 16  # numbers of a constant from which on it is a weight


def frozen(model: "keras.Model") -> Any:
    """Return the inference of a model as a TensorFlow function of (n, size, size, 3) with its weights as constants."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(_call(model).get_concrete_function())


def write_onnx(function: Any, file: Path) -> None:
    """Write a frozen graph as ONNX in float32: "image" (batch, size, size, 3) to "probabilities" (batch, classes)."""
    import onnx
    import onnxruntime
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    with quiet():
        patch_tf2onnx()  # Keras' own repairs of tf2onnx for NumPy 2, which its model.export makes as well
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
    # ONNX Runtime folds constants and moves transpositions away, which tf2onnx leaves round every hard swish.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(raw), options, providers=["CPUExecutionProvider"])
    raw.unlink()


def halve_onnx(onnx_file: Path, file: Path) -> None:
    """Write an ONNX file with its weights in half precision, each followed by a cast.

    Runtimes do the casts once, when they open the file, and compute in float32.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(onnx_file)
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        # Shapes and axes are integers; a few numbers save nothing, and may be such as half precision cannot hold.
        if values.dtype != np.float32 or values.size < SEVERAL or np.abs(values).max() > np.finfo(np.float16).max:
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
    """Return LiteRT's converter of a frozen graph; it has something to say, see `quiet`."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_concrete_functions([function])


def write_saved_model(model: "keras.Model", folder: Path) -> None:
    """Write a model as TensorFlow's SavedModel, whose endpoint is `serve`, as of those that Keras writes.

    Keras' own `model.export` keeps every weight twice.
    """
    import tensorflow as tf

    holder = tf.Module()
    holder.weights = [weight.value for weight in model.variables]
    holder.serve = _call(model)
    with quiet():
        tf.saved_model.save(holder, str(folder), signatures={"serving_default": holder.serve})


def _call(model: "keras.Model") -> Any:
    import tensorflow as tf

    taken = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT)
    return tf.function(lambda image: model(image, training=False), input_signature=[taken])


@contextmanager
def quiet() -> "Iterator[None]":
    """Keep what converters say of themselves off the screen; what goes wrong, they raise."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with keras_backend.stderr_of_libraries_closed(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _erfc(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Write erfc(x), of Keras' exact GELU, as 1 - erf(x): ONNX has no erfc."""
    node.type = "Erf"
    output = node.output[0]
    users = context.find_output_consumers(output)
    one = context.make_const(f"{name}_one", np.array(1, np.float32)).output[0]
    shape, kind = [context.get_shape(output)], [context.get_dtype(output)]
    left = context.make_node("Sub", [one, output], shapes=shape, dtypes=kind)
    for user in users:
        context.replace_input(user, output, left.output[0])


def _name_ends(model: "onnx.ModelProto") -> None:
    """Call input and output by plain names and the first axis "batch"."""
    graph = model.graph
    names = {graph.input[0].name: INPUT, graph.output[0].name: OUTPUT}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for end in (graph.input[0], graph.output[0]):
        end.name = names[end.name]
        end.type.tensor_type.shape.dim[0].dim_param = "batch"
