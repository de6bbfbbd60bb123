"""The house: imports run one way only, and what is slow to import waits until it is needed."""

import ast
import re
import sys

import pytest

import models
from utils.paths import PROJECT

ROOMS = {"run_guide": 6, "benchmarks": 6, "guide": 5, "webapp": 4, "models": 3, "visualization": 3, "data": 2}
ROOMS |= {"utils": 1}
SERVER = {"fastapi", "starlette", "prometheus_client", "uvicorn"}  # webapp/ is imported when `serve` is called
KERAS = {"keras", "tensorflow", "tf_keras_vis", "keras_hub", "jax"}
SLOW = KERAS | {"pandas", "sklearn", "matplotlib", "scipy", "seaborn", "PIL", "kagglehub", "jinja2", "optuna"}
SLOW |= SERVER | {"sqlalchemy", "cv2", "skimage", "imagehash", "statsmodels", "mapie"}
SLOW |= {"jax", "onnx", "onnxruntime", "tf2onnx", "openvino", "ai_edge_litert", "ray", "mlflow", "tensorboard"}
SLOW |= {"simplejpeg"}
FILES = [PROJECT / "run_guide.py", *(path for room in ROOMS for path in sorted((PROJECT / room).rglob("*.py")))]


def imports(path):
    """Yield (module, at module level) for every import of a file; one for type checkers alone is imported by none."""

    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from ((module, None) for module, _ in walk(child, top))
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: imports are written in full"
                yield child.module, top
                # `from models import cnn` imports a package as well as a name.
                yield from ((f"{child.module}.{alias.name}", top) for alias in child.names)
            yield from walk(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def room_of(path):
    return path.relative_to(PROJECT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_imports(path):
    room = room_of(path)
    for module, top in imports(path):
        first = module.partition(".")[0]
        if first in ROOMS and first != room:
            assert ROOMS[first] < ROOMS[room], f"{room} imports {module}"
        if top is None:
            continue
        if first in KERAS:
            pixels = [
                PROJECT / "data" / "loading" / name
                for name in ("tf_loader.py", "numpy_decoder.py", "array_loader.py", "augment.py")
            ]
            assert room in ("models", "benchmarks") or path in pixels, f"{room} imports {module}"
        if first in SLOW and not (room == "webapp" and first in SERVER):
            assert not top, f"{module} is imported at module level"
        if first == "numpy":
            assert not top or room not in ("guide", "run_guide", "utils"), "numpy is imported at module level"


def test_rules_are_about_real_files():
    assert len(FILES) > 30
    assert {room_of(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_one_folder(name):
    folder = PROJECT / "models" / name
    lines = 0
    for path in folder.glob("*.py"):
        lines += len(path.read_text(encoding="utf-8").splitlines())
        for module, _ in imports(path):
            inner = re.match(r"models\.(\w+)", module)
            other = inner and inner[1] in models.names() and inner[1] != name
            assert not other, f"models/{name} imports {module}"
    assert lines < 80
    assert {path.name for path in folder.glob("*.py")} == {
        "__init__.py",
        "config.py",
        "model.py",
        "train.py",
        "evaluate.py",
    }


def test_nobody_lists_the_models_by_hand():
    """Outside its folder, the demo and the benchmarks, no file of the program knows a model's name."""
    known = set(models.names()) - {"cnn"}  # which stands in hints: "Train one: ... train cnn"
    for path in FILES:
        if PROJECT / "benchmarks" in path.parents or path == PROJECT / "guide" / "demo.py":
            continue
        if path.parent.parent == PROJECT / "models":
            continue
        texts = {n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)}
        assert not known & {text for text in texts if isinstance(text, str)}, path


def test_every_package_that_is_imported_is_required():
    names = {
        "tf_keras_vis": "tf-keras-vis",
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "cv2": "opencv-python-headless",
        "python_multipart": "python-multipart",
        "prometheus_client": "prometheus-client",
        "skimage": "scikit-image",
        "keras_hub": "keras-hub",
        "yaml": "pyyaml",
        "ai_edge_litert": "ai-edge-litert",
    }
    lines = [
        line
        for name in ("requirements.txt", "requirements-extra.txt")
        for line in (PROJECT / name).read_text(encoding="utf-8").splitlines()
    ]
    required = {re.match(r"[\w-]+", line)[0]: line for line in lines if line and not line.startswith(("#", "-r"))}
    used = {module.partition(".")[0] for path in FILES for module, _ in imports(path)}
    foreign = used - set(ROOMS) - set(sys.stdlib_module_names)
    missing = {names.get(module, module) for module in foreign} - set(required)
    assert not missing
    for line in required.values():
        assert re.match(r"[\w-]+(\[\w+\])?(~=|>=[\d.]+,<)[\d.]+ +# \w", line), line
