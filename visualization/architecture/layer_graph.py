"""Layer graph of a model from its architecture.json: types, shapes, parameters and edges, without Keras."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from utils.errors import LeukoBenchError
from utils.io import files
from utils.runs import run_folder
from utils.runs.run_folder import Run
from visualization.architecture import shape_inference as rules
from visualization.architecture import vit_layers
from visualization.architecture.shape_inference import Shape

SHAPES = "output_shapes"  # {layer name: shape}, added by training to the JSON of Keras


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: in the model; "<inner model>/<layer>" in a nested model.
        type: name of its class, "Conv2D".
        kind: a key of `shape_inference.KINDS`, or `shape_inference.OTHER`.
        words: its main settings, "3 × 3, stride 2".
        shape: of its output, with the batch; None where unknown.
        parameters: None where unknown.
    """

    name: str
    type: str
    kind: str
    words: str = ""
    shape: Shape | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Graph:
    """Layers of a model in topological order, and edges as pairs of positions (source, target)."""

    name: str
    layers: tuple[Layer, ...]
    edges: tuple[tuple[int, int], ...] = ()

    @property
    def groups(self) -> list[tuple[str, int, int]]:
        """Sequences of layers with a common name prefix: (prefix or "", first, last), in order."""
        names = [prefix(layer) for layer in self.layers]
        known = [k for k, name in enumerate(names) if name]
        for here, after in pairwise(known):  # layers with default names in the middle of a block
            if names[here] == names[after] and not any(each.type == "Block" for each in self.layers[here:after]):
                names[here:after] = [names[here]] * (after - here)
        found: list[tuple[str, int, int]] = []
        for index, name in enumerate(names):
            if name and found and found[-1][0] == name:
                found[-1] = (name, found[-1][1], index)
            else:
                found.append((name, index, index))
        return [(name if last > first else "", first, last) for name, first, last in found]


@dataclass
class _Reading:
    """State while a file is read; `made` holds the shape of each layer's first output."""

    layers: list[tuple[str, str, dict[str, Any], list[Any]]] = field(default_factory=list)
    edges: list[tuple[str, str]] = field(default_factory=list)
    made: dict[str, Shape] = field(default_factory=dict)


def of_run(run: Run) -> Graph:
    """Read the architecture of a run.

    Raises:
        LeukoBenchError: architecture.json is missing or damaged.
    """
    path = run.file(run_folder.ARCHITECTURE)
    if not path.is_file():
        raise LeukoBenchError(f"Run {run.id} has no {path.name}. Restore it or train again.")
    value = files.read_json(path)
    try:
        graph = of_json(value, run.model)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise LeukoBenchError(
            f"{path} is damaged, it is no architecture of Keras ({error!r}). Restore it or train again."
        ) from None
    run.check(run_folder.ARCHITECTURE)
    return graph


def of_json(value: dict[str, Any], name: str = "") -> Graph:
    """Read the output of `keras.Model.to_json`, with or without "output_shapes".

    Shapes come from "output_shapes", else from the inputs of the next layers, else from a rule; otherwise None.
    """
    reading, told = _Reading(), value.get(SHAPES) or {}
    _collect(value, "", reading)
    incoming: dict[str, list[str]] = {}
    for source, target in reading.edges:
        incoming.setdefault(target, []).append(source)
    shapes: dict[str, Shape | None] = {}
    layers = []
    order = _ordered([layer for layer, *_ in reading.layers], incoming)
    rows = {row[0]: row for row in reading.layers}
    for layer in order:
        _, type_, config, build = rows[layer]
        entering = [shapes.get(source) for source in incoming.get(layer, ())]
        inputs = [shape for shape in entering if shape] if all(entering) else []
        inputs = inputs or [tuple(build)] * bool(build)
        found = told.get(layer) or reading.made.get(layer) or rules.output_shape(type_, config, inputs)
        shapes[layer] = tuple(found) if found else None
        weights = rules.parameters(type_, config, inputs)
        kind = rules.kind(type_, len(entering))
        layers.append(Layer(layer, type_, kind, rules.words(type_, config), shapes[layer], weights))
    place = {layer: index for index, layer in enumerate(order)}
    edges = sorted({(place[source], place[target]) for source, target in reading.edges})
    return Graph(name or value["config"]["name"], tuple(layers), tuple(edges))


def blocks(graph: Graph) -> Graph:
    """Return a graph with each sequence of layers with a common name prefix merged into one."""
    runs, layers, home = graph.groups, [], {}
    for name, first, last in runs:
        home.update(dict.fromkeys(range(first, last + 1), len(layers)))
        members = graph.layers[first : last + 1]
        if not name:
            layers.append(members[0])
            continue
        main = [member for member in members if member.kind in _MAIN]
        held = [member.type for member in main]
        words = ", ".join(f"{held.count(type_)} {type_}" for type_ in dict.fromkeys(held)) or members[0].type
        weights = [member.parameters for member in members]
        total = None if None in weights else sum(weights)
        kind = "Block"
        if len(main) == 1:  # a single layer with its normalisation and activation
            kind, words = main[0].kind, ": ".join(filter(None, (main[0].type, main[0].words)))
        layers.append(Layer(name, "Block", kind, words, members[-1].shape, total))
    edges = {(home[source], home[target]) for source, target in graph.edges}
    return _repeats(Graph(graph.name, tuple(layers), tuple(sorted(edge for edge in edges if edge[0] != edge[1]))))


def _repeats(graph: Graph) -> Graph:
    """Merge equal blocks that follow each other in a chain."""
    place: list[int] = []
    found: list[list[Layer]] = []
    for k, layer in enumerate(graph.layers):
        plain = {edge for edge in graph.edges if edge[1] == k or edge[0] == k - 1} == {(k - 1, k)}
        alike = found and replace(found[-1][0], name=layer.name) == layer and layer.type == "Block"
        if alike and plain:
            found[-1].append(layer)
        else:
            found.append([layer])
        place.append(len(found) - 1)
    layers = []
    for same in found:
        first, many = same[0], len(same)
        if many > 1:
            total = None if first.parameters is None else many * first.parameters
            name, words = f"{first.name} to {same[-1].name}", f"{many} × ({first.words})"
            first = replace(first, name=name, words=words, parameters=total)
        layers.append(first)
    edges = {(place[source], place[target]) for source, target in graph.edges}
    return Graph(graph.name, tuple(layers), tuple(sorted(edge for edge in edges if edge[0] != edge[1])))


_MAIN = ("Convolution", "Dense", "Pooling", "Merge", "Attention", rules.OTHER)


def prefix(layer: Layer) -> str:
    """Return the prefix of a layer's name that names its block: "conv2_block1", "stem"; "" without one."""
    outer, slash, inner = layer.name.rpartition("/")
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", layer.type).lower()
    if re.fullmatch(rf"{re.escape(snake)}(_\d+)?", inner):  # a default name of Keras
        return outer
    found = re.match(r"(.*block_?\d+[a-z]?)_", inner) or re.match(r"([a-z_]*?\d+[a-z]?)_", inner)
    if layer.type != "Block":
        found = found or re.match(r"([a-z]+)_(?=[a-z])", inner)
    return outer + slash + found[1] if found else outer


def _collect(model: dict[str, Any], outer: str, into: _Reading) -> tuple[list[str], list[str]]:
    """Add the layers of a model and return its inputs and outputs."""
    config = model["config"]
    chain = model["class_name"] == "Sequential"
    ends: dict[str, tuple[list[str], list[str]]] = {}
    last: list[str] = []
    for layer in config["layers"]:
        name = layer.get("name") or layer["config"]["name"]
        full = outer + name
        if isinstance(layer["config"].get("layers"), list) and layer["class_name"] in ("Functional", "Sequential"):
            ends[name] = _collect(layer, f"{full}/", into)
        elif layer["class_name"] == vit_layers.TYPE:
            ends[name] = _unroll(layer["config"], f"{full}/", into)
        else:
            build = (layer.get("build_config") or {}).get("input_shape") or []
            flat = build and all(side is None or isinstance(side, int) for side in build)
            into.layers.append((full, layer["class_name"], layer["config"], build if flat else []))
            ends[name] = ([full], [full])
        sources = []
        for tensor in _tensors(layer.get("inbound_nodes", [])):
            source, _, output = tensor["keras_history"]
            made = ends[source][1]
            sources += made
            if output < len(made):  # a nested model has one end for each output, a layer one for all
                into.made.setdefault(made[output], tuple(tensor["shape"]))
        if chain:
            sources = last
        into.edges += [(source, target) for source in dict.fromkeys(sources) for target in ends[name][0]]
        last = ends[name][1]
    inputs = [end for name in _names(config.get("input_layers")) for end in ends[name][0]]
    outputs = [end for name in _names(config.get("output_layers")) for end in ends[name][1]]
    first = config["layers"][0]
    return inputs or ends[first.get("name") or first["config"]["name"]][0], outputs or last


def _unroll(config: dict[str, Any], outer: str, into: _Reading) -> tuple[list[str], list[str]]:
    inside = list(vit_layers.layers(config))
    for name, type_, settings, sources in inside:
        into.layers.append((outer + name, type_, settings, []))
        into.edges += [(outer + source, outer + name) for source in sources if source]
    return [outer + inside[0][0]], [outer + inside[-1][0]]


def _names(value: Any) -> list[str]:
    """Return the layers of Keras' ["image", 0, 0] or [["image", 0, 0], ...]."""
    if not value:
        return []
    return [value[0]] if isinstance(value[0], str) else [each[0] for each in value]


def _tensors(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the tensors in the arguments of a layer, at any depth."""
    if isinstance(value, dict):
        if value.get("class_name") == "__keras_tensor__":
            yield value["config"]
        else:
            for part in value.values():
                yield from _tensors(part)
    elif isinstance(value, list):
        for part in value:
            yield from _tensors(part)


def _ordered(names: list[str], incoming: dict[str, list[str]]) -> list[str]:
    """Sort layers topologically, otherwise in the order of the file."""
    placed: dict[str, None] = {}
    left = list(names)
    while left:
        ready = [name for name in left if all(source in placed for source in incoming.get(name, ()))]
        if not ready:
            raise ValueError("its layers form a cycle")
        first = ready[0]
        placed[first] = None
        left.remove(first)
    return list(placed)
