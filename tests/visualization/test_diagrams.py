"""Architecture diagrams: every layer and edge, shapes and parameters equal to those of Keras, readable SVG."""

import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import fake_runs
import pytest

from guide import diagram
from guide.app import main
from utils import paths
from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from visualization import style
from visualization.architecture import diagram as architecture_diagram
from visualization.architecture import layer_graph, shape_inference
from visualization.architecture import layout as diagram_layout

RESULTS = paths.PROJECT / "docs" / "results"
# The first run of every model, each with its architecture.json.
COMMITTED = {run.model: run for run in reversed(run_folder.find_runs(RESULTS))}
RUNS = list(COMMITTED.values())


def keras_layers(run):
    return json.loads(run.file(run_folder.ARCHITECTURE).read_text())["config"]["layers"]


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.model)
def test_a_published_architecture_is_read_completely(run):
    found, told = layer_graph.of_run(run), keras_layers(run)
    outer = {layer.name.partition("/")[0] for layer in found.layers}
    assert outer == {layer["name"] for layer in told}
    assert len({layer.name for layer in found.layers}) == len(found.layers)
    assert all(source < target for source, target in found.edges)
    if not any("/" in layer.name for layer in found.layers):
        names = [layer.name for layer in found.layers]
        edges = {(names[source], names[target]) for source, target in found.edges}
        inbound = {
            (source, layer["name"])
            for layer in told
            for source in re.findall(r'"keras_history": \["([^"]+)"', json.dumps(layer["inbound_nodes"]))
        }
        assert edges == inbound
    weights = [layer.parameters for layer in found.layers]
    if None not in weights:
        assert sum(weights) == run.timing()["inference"]["parameters"]


@pytest.mark.parametrize("detail", architecture_diagram.DETAILS)
def test_a_diagram_draws_every_layer_and_edge_once(detail):
    whole = layer_graph.of_run(COMMITTED["resnet50"])
    found = whole if detail == "layers" else layer_graph.blocks(whole)
    text = style.svg(architecture_diagram.figure(whole, detail))
    root = ElementTree.fromstring(text)
    drawn = [element.get("id", "") for element in root.iter()]
    assert sorted(i for i in drawn if i.startswith("layer-")) == sorted(f"layer-{k}" for k in range(len(found.layers)))
    assert sorted(i for i in drawn if i.startswith("edge-")) == sorted(f"edge-{s}-{t}" for s, t in found.edges)
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    for layer in found.layers:
        assert words.count(layer.name) == 1
    assert "2 × 2 × 2048" in words and any(word.startswith("resnet50: 183 layers, 23.62 M") for word in words)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.model)
def test_boxes_and_lines_of_a_diagram_do_not_overlap(run):
    found = layer_graph.of_run(run)
    width = 3.0
    layout = diagram_layout.arrange(found, width)
    spots = sorted(layout.boxes)
    for (x, y), (next_x, next_y) in pairwise(spots):
        assert next_y >= y + diagram_layout.ROW if next_x == x else next_x >= x + width
    upright = {}
    for (source, _), points in layout.lines.items():
        for (x, y), (to_x, to_y) in pairwise(points):
            inside = [
                box
                for box in layout.boxes
                if max(x, to_x) > box[0] + 0.01 and min(x, to_x) < box[0] + width - 0.01
                and max(y, to_y) > box[1] + 0.01 and min(y, to_y) < box[1] + diagram_layout.ROW - 0.01
            ]  # fmt: skip
            assert not inside, "a line crosses a layer"
            if x == to_x:
                upright.setdefault(round(x, 3), []).append((min(y, to_y), max(y, to_y), source))
    for lines in upright.values():
        for k, (low, high, source) in enumerate(lines):
            assert not any(low < b and a < high and source != other for a, b, other in lines[k + 1 :])


@pytest.mark.slow
def test_shapes_and_parameters_are_those_of_keras():
    import keras

    layers = keras.layers
    inputs = keras.Input((37, 41, 3), name="image")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.ZeroPadding2D(((1, 2), (3, 0)))(x)
    x = layers.Conv2D(8, (3, 5), strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Conv2D(12, 3, dilation_rate=2, groups=4)(x)
    y = layers.DepthwiseConv2D(3, strides=(1, 1), padding="same", depth_multiplier=1)(x)
    x = layers.Add()([x, y])
    x = layers.Activation("relu")(x)
    x = layers.SeparableConv2D(10, 3, depth_multiplier=2)(x)
    x = layers.Concatenate()([layers.MaxPooling2D(3, strides=2)(x), layers.AveragePooling2D((3, 3), strides=2)(x)])
    z = layers.Reshape((1, 1, 20))(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Dense(20, activation="sigmoid")(z)])
    x = layers.LayerNormalization()(layers.Cropping2D(1)(layers.Resizing(9, 11)(x)))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x), name="all")
    told = json.loads(model.to_json())
    expected = {layer.name: tuple(layer.output.shape) for layer in model.layers}
    for value in (told, without_shapes(told), told | {layer_graph.SHAPES: {k: list(v) for k, v in expected.items()}}):
        found = layer_graph.of_json(value)
        shapes = {layer.name: layer.shape for layer in found.layers}
        # What is broadcast is left out rather than guessed, and with it what follows from it alone.
        assert {name: shape for name, shape in shapes.items() if shape} == {
            n: s for n, s in expected.items() if shapes[n]
        }
        assert sum(shape is None for shape in shapes.values()) <= 1
        assert {layer.name: layer.parameters for layer in found.layers} == {
            layer.name: layer.count_params() for layer in model.layers
        }


def without_shapes(value):
    """Remove the shapes that Keras writes beside the tensors, but not those that layers were built with."""
    return json.loads(re.sub(r'"shape": \[[^]]*\]', '"shape": []', json.dumps(value)))


def test_nested_models_are_drawn_layer_by_layer():
    def tensor(name, shape):
        return {"class_name": "__keras_tensor__", "config": {"shape": shape, "keras_history": [name, 0, 0]}}

    def layer(type_, name, config, *sources):
        nodes = [{"args": list(sources), "kwargs": {}}] if sources else []
        return {"class_name": type_, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}

    inner = {
        "layers": [
            layer("InputLayer", "inside", {"batch_shape": [None, 8, 8, 3]}),
            layer("Strange", "block1_odd", {}, tensor("inside", [None, 8, 8, 3])),
            layer("Activation", "block1_act", {"activation": "relu"}, tensor("block1_odd", [None, 8, 8, 5])),
        ],
        "input_layers": ["inside", 0, 0],
        "output_layers": [["block1_act", 0, 0]],
    }
    transformer = {
        "image_shape": [224, 224, 3], "patch_size": [16, 16], "num_layers": 12, "num_heads": 12, "hidden_dim": 768,
        "mlp_dim": 3072, "dropout_rate": 0.0, "use_class_token": True,
    }  # fmt: skip
    layers = [
        layer("InputLayer", "image", {"batch_shape": [None, 8, 8, 3]}),
        layer("Functional", "base", inner, tensor("image", [None, 8, 8, 3])),
        layer("ViTBackbone", "vit", transformer, tensor("image", [None, 224, 224, 3])),
        layer("Dense", "head", {"units": 4}, tensor("base", [None, 8, 8, 5])),
    ]
    found = layer_graph.of_json({"class_name": "Functional", "config": {"name": "outer", "layers": layers}})
    by_name = {each.name: each for each in found.layers}
    names = [each.name for each in found.layers]
    assert (names.index("image"), names.index("base/inside")) in found.edges
    assert (names.index("base/block1_act"), names.index("head")) in found.edges
    assert by_name["base/block1_act"].shape == (None, 8, 8, 5) and by_name["head"].shape == (None, 8, 8, 4)
    assert by_name["base/block1_odd"].kind == shape_inference.OTHER and by_name["base/block1_odd"].parameters is None
    inside = [each for each in found.layers if each.name.startswith("vit/")]
    assert sum(each.parameters for each in inside) == 85_798_656  # keras_hub's own count of ViT-B/16
    assert inside[-1].shape == (None, 197, 768)
    assert len(layer_graph.blocks(found).layers) < 12
    figure = architecture_diagram.figure(found)
    assert "at least 85.80 M parameters" in figure.axes[0].texts[0].get_text()


def test_a_sequential_model_is_a_chain_and_its_shapes_follow_from_rules():
    layers = [
        ("InputLayer", {"name": "in", "batch_shape": [None, 32, 32, 3]}),
        ("Conv2D", {"name": "c", "filters": 7, "kernel_size": [3, 3], "padding": "valid"}),
        ("Flatten", {"name": "f"}),
        ("Mystery", {"name": "m"}),
        ("Dense", {"name": "d", "units": 2}),
    ]
    layers = [{"class_name": type_, "config": config} for type_, config in layers]
    told = {"class_name": "Sequential", "config": {"name": "plain", "layers": layers}}
    found = layer_graph.of_json(told)
    assert found.edges == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert [layer.shape for layer in found.layers[1:]] == [(None, 30, 30, 7), (None, 6300), None, None]


@pytest.mark.slow
def test_arithmetic_with_constants_keeps_shape_and_parameters_and_one_layer_is_no_block():
    import keras

    inputs = keras.Input((8, 8, 3), name="image")
    x = (inputs / 255.0 + keras.ops.array([1.0, 2.0, 3.0])) / 2.0
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(x)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    outputs = keras.layers.Dense(2, name="head")(keras.layers.Flatten(name="flat")(x))
    model = keras.Model(inputs, outputs)
    found = layer_graph.of_json(json.loads(model.to_json()))
    constants = found.layers[1:4]
    assert [layer.type for layer in constants] == ["TrueDivide", "Add", "TrueDivide"]
    assert {(each.kind, each.shape, each.parameters) for each in constants} == {("Shape and scale", (None, 8, 8, 3), 0)}
    assert sum(layer.parameters for layer in found.layers) == model.count_params()
    stem = next(layer for layer in layer_graph.blocks(found).layers if layer.name == "stem")
    assert (stem.kind, stem.words) == ("Convolution", "Conv2D: 3 × 3")
    title, *more = [
        text.get_text() for text in architecture_diagram.figure(found, "layers", "a" * 12).axes[0].texts[:2]
    ]
    assert "at least" not in title and "input\u00a08\u00a0×\u00a08\u00a0×\u00a03" in title + "".join(more)
    assert len(set(architecture_diagram.COLOURS.values())) == len(architecture_diagram.COLOURS)


def test_the_command_draws_runs_and_its_errors_are_one_line(tmp_path, capsys):
    assert diagram.DETAILS == architecture_diagram.DETAILS
    root = tmp_path / "runs"
    run = fake_runs.fake_run(root, "cnn")
    files.write_text(run.file(run_folder.ARCHITECTURE), COMMITTED["cnn"].file(run_folder.ARCHITECTURE).read_text())
    assert main(["diagram", "--root", str(root)]) == 0
    assert main(["diagram", "cnn", "--detail", "blocks", "--root", str(root)]) == 0
    made = sorted(path.name for path in run.file(run_folder.FIGURES).iterdir())
    assert made == ["architecture-blocks.png", "architecture-blocks.svg", "architecture.png", "architecture.svg"]
    before = {path: path.read_bytes() for path in run.file(run_folder.FIGURES).iterdir()}
    architecture_diagram.draw(run)
    assert {path: path.read_bytes() for path in before} == before
    capsys.readouterr()
    for damage in ('{"config": {}}', "[]", '{"class_name": "Functional", "config": {"layers": [{"name": 3}]}}'):
        files.write_text(run.file(run_folder.ARCHITECTURE), damage)
        with pytest.raises(LeukoBenchError, match="is damaged, it is no architecture of Keras"):
            layer_graph.of_run(run)
    run.file(run_folder.ARCHITECTURE).unlink()
    assert main(["diagram", "cnn", "--root", str(root)]) == 1
    error = capsys.readouterr().err.strip()
    assert "\n" not in error and run.id in error and "architecture.json" in error
    assert main(["diagram", "--root", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.strip().endswith("holds no runs. Train one: python run_guide.py train cnn")
