"""Architecture: imports run one way and in no circle, slow packages wait until needed, folders say what they hold."""

import ast
import re
import sys
from functools import cache

import pytest

import models
from utils.paths import PROJECT

# Each room imports only rooms to its right; models and visualization do not import each other.
LEVELS = {
    "run_guide": 6,
    "benchmarks": 6,
    "guide": 5,
    "webapp": 4,
    "models": 3,
    "visualization": 3,
    "data": 2,
    "utils": 1,
}
SERVER = {"fastapi", "starlette", "prometheus_client", "uvicorn"}  # webapp/ is imported when `serve` is called
KERAS = {"keras", "tensorflow", "tf_keras_vis", "keras_hub", "jax"}
SLOW = KERAS | SERVER | {"pandas", "sklearn", "matplotlib", "scipy", "seaborn", "PIL", "kagglehub", "jinja2", "optuna"}
SLOW |= {"sqlalchemy", "cv2", "skimage", "imagehash", "statsmodels", "mapie", "simplejpeg", "fastcluster"}
SLOW |= {"onnx", "onnxruntime", "tf2onnx", "openvino", "ai_edge_litert", "ray", "mlflow", "tensorboard"}
WITH_KERAS = ("models/", "benchmarks/", "data/loading/")
FLAT_FILES = 6  # at most so many modules directly in a room, beside its __init__.py
LINES = 400
FILES = [PROJECT / "run_guide.py", *(path for room in LEVELS for path in sorted((PROJECT / room).rglob("*.py")))]


def name_of(path):
    return path.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


@cache
def imports(path):
    """Return (module, at module level) for every import of a file; those for type checkers alone are left out."""

    def walk(node, top):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                # `from models import cnn` imports a module, `from models import names` a name of the package.
                for full in (f"{child.module}.{alias.name}" for alias in child.names):
                    yield (full if full in MODULES else child.module), top
            yield from walk(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return tuple(walk(ast.parse(path.read_text(encoding="utf-8")), True))


def room_of(path):
    return path.relative_to(PROJECT).parts[0].removesuffix(".py")


def package_of(module):
    """Return the sub-package of a module ("data.loading", "models.engine.export"), or the module directly in a room."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[:2] == ["models", "engine"] else 2])


def circles(graph):
    """Return the groups of nodes that reach each other, from {node: {nodes it points to}}."""

    @cache
    def reached(start):
        found, left = set(), [start]
        while left:
            for node in graph[left.pop()] - found:
                found.add(node)
                left.append(node)
        return found

    return {frozenset(other for other in reached(node) if node in reached(other)) for node in graph} - {frozenset()}


@pytest.mark.parametrize("room", LEVELS)
def test_imports_between_rooms_run_one_way(room):
    for path in (path for path in FILES if room_of(path) == room):
        for module, _ in imports(path):
            other = module.partition(".")[0]
            assert other == room or LEVELS.get(other, 0) < LEVELS[room], f"{path} imports {module}"


def test_no_module_imports_itself_in_a_circle():
    graph = {name: {module for module, _ in imports(path) if module in MODULES} for name, path in MODULES.items()}
    assert not circles(graph)


def test_sub_packages_import_one_way():
    graph = {}
    for name, path in MODULES.items():
        others = {package_of(module) for module, _ in imports(path) if module in MODULES}
        graph.setdefault(package_of(name), set()).update(others - {package_of(name)})
    assert not circles(graph)


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}
    assert not circles({"a": {"b", "c"}, "b": {"c"}, "c": set()})


@pytest.mark.parametrize("room", LEVELS)
def test_slow_packages_are_imported_where_needed(room):
    for path in (path for path in FILES if room_of(path) == room):
        place = path.relative_to(PROJECT).as_posix()
        for module, top in imports(path):
            first = module.partition(".")[0]
            assert first not in KERAS or place.startswith(WITH_KERAS), f"{place} imports {module}"
            if top:
                allowed = SERVER if room == "webapp" else set()
                assert first not in SLOW - allowed, f"{place} imports {module} at module level"
                assert first != "numpy" or room not in ("guide", "run_guide", "utils"), f"{place} imports numpy at once"


def test_folders_explain_themselves():
    for room in LEVELS.keys() - {"run_guide"}:
        packages = [path for path in (PROJECT / room).rglob("__init__.py") if "templates" not in path.parts]
        for path in packages:
            words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert words and words.splitlines()[0].endswith("."), f"{path} says what the folder holds"
        if room not in ("guide", "benchmarks"):  # one file a command or program
            flat = [path for path in (PROJECT / room).glob("*.py") if path.name != "__init__.py"]
            assert len(flat) <= FLAT_FILES, f"{room}: {flat}"


def test_files_have_one_idea():
    long = {path.relative_to(PROJECT).as_posix(): len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert not {path: lines for path, lines in long.items() if lines > LINES}


@pytest.mark.parametrize("name", models.names())
def test_a_model_is_one_folder(name):
    folder = PROJECT / "models" / name
    for path in folder.glob("*.py"):
        for module, _ in imports(path):
            inner = re.match(r"models\.(\w+)", module)
            assert not (inner and inner[1] in set(models.names()) - {name}), f"models/{name} imports {module}"
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in folder.glob("*.py")) < 90
    assert {path.stem for path in folder.glob("*.py")} == {"__init__", "config", "model", "train", "evaluate"}


def test_no_file_lists_the_models():
    """Outside its folder, the demo and the benchmarks, no file of the program knows a model's name."""
    known = set(models.names()) - {"cnn"}  # which stands in hints: "Train one: ... train cnn"
    for path in FILES:
        if room_of(path) == "benchmarks" or path == PROJECT / "guide" / "demo.py":
            continue
        if path.parent.parent == PROJECT / "models" and path.parent.name in models.names():
            continue
        texts = {n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)}
        assert not known & {text for text in texts if isinstance(text, str)}, path


IMPORT_NAMES = {  # where a package is imported by another name than it is installed by
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
    "sparse_dot_topn": "sparse-dot-topn",
    "huggingface_hub": "huggingface-hub",
}


def requirements(*names):
    lines = [line for name in names for line in (PROJECT / name).read_text(encoding="utf-8").splitlines()]
    return {re.match(r"[\w-]+", line)[0]: line for line in lines if line and not line.startswith(("#", "-r"))}


def test_every_imported_package_is_required():
    required = requirements("requirements.txt", "requirements-web.txt", "requirements-extra.txt")
    used = {module.partition(".")[0] for path in FILES for module, _ in imports(path)}
    foreign = used - set(LEVELS) - set(sys.stdlib_module_names)
    assert not {IMPORT_NAMES.get(module, module) for module in foreign} - set(required)


@pytest.mark.parametrize("file", sorted(PROJECT.glob("requirements*.txt")), ids=lambda path: path.name)
def test_every_requirement_has_bounds_and_a_reason(file):
    for line in requirements(file.name).values():
        assert re.match(r"[\w-]+(\[\w+\])?(~=|>=[\d.]+,<)[\d.]+ +# \w", line), line


def test_the_base_needs_no_web_package():
    """Only webapp/ imports the packages of requirements-web.txt, so the rest runs without them."""
    web = set(requirements("requirements-web.txt"))
    for path in FILES:
        if room_of(path) not in ("webapp", "benchmarks"):
            names = {module.partition(".")[0] for module, _ in imports(path)}
            assert not {IMPORT_NAMES.get(name, name) for name in names} & web, path
