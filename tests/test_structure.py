"""How the repository is laid out: one-way imports, short files, telling names."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("faces", "keras_impl", "torch_ref", "parity_tests", "tests", "benchmarks")
MAX_LINES = 400
EMPTY_NAMES = {"utils.py", "common.py", "factory.py", "generator.py"}

# What each package may import at any place, besides the standard library and itself.
ALLOWED = {
    "faces": {"numpy", "pandas", "scipy", "cv2", "PIL", "simplejpeg", "tqdm"},
    "keras_impl": {"faces", "keras", "numpy", "pandas", "cv2", "tqdm", "pydantic"},
    "torch_ref": {"faces", "torch", "numpy"},
}
# What only the named modules may import, and only inside a function: heavy, optional, or owned by one place.
LAZY = {
    ("faces", "keras"): {"keras_start"},  # settings; the detector mtcnn is a model of Keras
    ("faces", "mtcnn"): {"detectors/cascade"},
    ("faces", "av"): {"video/recording"},
    ("faces", "matplotlib"): {"report"},
    ("faces", "pyarrow"): {"photos/paths", "photos/row_formats"},
    ("keras_impl", "tensorflow"): {"input/tf_data", "input/augment", "layers", "devices", "export"},
    ("keras_impl", "torch"): {"devices", "published/torch_files"},  # counts its GPUs; reads its files
    ("keras_impl", "h5py"): {"checkpoint/archive"},  # looks at weights before Keras does
    ("keras_impl", "onnx"): {"export"},
    ("keras_impl", "tf2onnx"): {"export"},
    ("keras_impl", "onnxruntime"): {"export"},
    ("keras_impl", "openvino"): {"export"},
    ("keras_impl", "ai_edge_litert"): {"export"},
}
# Only in keras_impl/web, which loads when a server is asked for, and then at any place.
SERVER = {"fastapi", "jinja2", "starlette", "uvicorn"}
# The modules that print, by the rule of faces/progress.py; every other module of faces and keras_impl does not.
PRINTING = {
    "faces/progress",  # a line of how far it is
    "faces/startup",  # how a program ends
    "keras_impl/experiment/fold",
    "keras_impl/experiment/folds",
    "keras_impl/experiment/run",
    "keras_impl/input/face_data",
    "keras_impl/training/fit",
    "keras_impl/training/recorder",
    "keras_impl/web/server",
}
# Also lazy, and in one module of keras_impl whichever it is.
ONE_PLACE = {"wandb", "keras_cv"}
# Scripts leave every framework to keras_impl, and only train.py reads a hydra config.
NOT_IN_SCRIPTS = {"keras", "tensorflow", "torch", "jax", "keras_cv", "torch_ref", "tests", "benchmarks"}
HYDRA = {"hydra", "omegaconf"}


def python_files():
    """Every Python file of the repository, relative to its root; not data, runs or virtual environments."""
    found = list(ROOT.glob("*.py"))
    for package in PACKAGES:
        found += (ROOT / package).rglob("*.py")
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def _targets(node):
    """Top-level names that one statement imports; relative imports stay inside the package and count as none."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module.split(".")[0]] if node.level == 0 else []
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in {"import_module", "__import__"}:
            return [str(node.args[0].value).split(".")[0]]
    return []


@cache
def imports(source):
    """(top-level name, whether inside a function) of every import in the source."""

    def walk(node, lazy):
        found.extend((name, lazy) for name in _targets(node))
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            walk(child, lazy)

    found = []
    walk(ast.parse(source), False)
    return found


def violation(path, name, lazy):
    """Why the file at `path` may not import `name` there, or None."""
    package, _, module = path.removesuffix(".py").rpartition("/")
    if package:
        package, _, module = path.removesuffix(".py").partition("/")
    if name == "parity_tests" and package != "parity_tests":
        return "nothing imports parity_tests"
    if not package:
        return None if module == "conftest" else _script_violation(module, name)
    if package not in ALLOWED or name in ALLOWED[package] | {package} or name in sys.stdlib_module_names:
        return None
    if path.startswith("keras_impl/web/") and name in SERVER | {"pydantic"}:
        return None
    places = {module} if package == "keras_impl" and name in ONE_PLACE else LAZY.get((package, name), set())
    if not any(module == place or module.startswith(place + "/") for place in places):
        return f"{package}/{module} does not import {name}"
    return None if lazy else f"{name} is imported inside a function only"


def _script_violation(script, name):
    if name in NOT_IN_SCRIPTS:
        return f"a script does not import {name}; keras_impl or faces does"
    if name in SERVER:
        return f"a script does not import {name}; keras_impl.web does"
    if name in HYDRA and script != "train":
        return f"only train.py imports {name}"
    return None


def test_imports_point_one_way():
    problems = []
    for path in python_files():
        for name, lazy in imports((ROOT / path).read_text(encoding="utf-8")):
            reason = violation(path, name, lazy)
            problems += [f"{path}: {reason}"] if reason else []
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("package", sorted(ONE_PLACE))
def test_optional_package_has_one_place(package):
    users = {
        path
        for path in python_files()
        if path.startswith("keras_impl/") and package in dict(imports((ROOT / path).read_text(encoding="utf-8")))
    }
    assert len(users) <= 1, f"{package} is imported in {sorted(users)}"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("evaluate.py", "import keras"),
        ("predict.py", "def f():\n    from tensorflow import data"),
        ("demo.py", "import torch.nn"),
        ("evaluate.py", "from hydra import compose"),
        ("train.py", "from parity_tests import test_losses"),
        ("tests/faces/test_x.py", "import parity_tests.test_losses"),
        ("keras_impl/heads/ordinal.py", "def f():\n    import tensorflow"),
        ("keras_impl/training/fit.py", "import tensorflow as tf"),
        ("keras_impl/input/batches.py", "def f():\n    import tensorflow as tf"),
        ("keras_impl/losses/ordinal.py", "import torch_ref.losses"),
        ("keras_impl/losses/ordinal.py", "import torch"),
        ("keras_impl/input/augment.py", "import keras_cv"),
        ("keras_impl/training/fit.py", "if True:\n    import wandb"),
        ("torch_ref/losses.py", "from keras_impl import losses"),
        ("torch_ref/heads.py", "import importlib\nimportlib.import_module('keras.ops')"),
        ("faces/splits/draw.py", "import keras_impl"),
        ("faces/images.py", "def f():\n    import tensorflow"),
        ("faces/splits/draw.py", "def f():\n    import matplotlib"),
        ("faces/report/pictures/evaluation.py", "from matplotlib.figure import Figure"),
        ("faces/detection.py", "def f():\n    import mtcnn"),
        ("faces/detectors/cascade.py", "import mtcnn"),
        ("faces/images.py", "def f():\n    import pyarrow"),
        ("keras_impl/photos.py", "def f():\n    import jinja2"),
        ("keras_impl/web.py", "import fastapi"),
        ("demo.py", "def f():\n    import uvicorn"),
    ],
)
def test_forbidden_import_is_found(path, source):
    assert [name for name, lazy in imports(source) if violation(path, name, lazy)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("train.py", "import hydra\nfrom omegaconf import OmegaConf\nfrom keras_impl.model import build_model"),
        ("evaluate_appa_real.py", "import evaluate\nfrom faces.startup import run_main"),
        ("keras_impl/input/tf_data.py", "def f():\n    import tensorflow as tf"),
        ("keras_impl/training/fit.py", "class C:\n    def f(self):\n        import wandb"),
        ("keras_impl/heads/ordinal.py", "from . import losses\nfrom .losses import mae\nimport keras, numpy, math"),
        ("torch_ref/heads.py", "import torch.nn.functional as F\nfrom faces.labels import age_grid"),
        ("faces/report/pictures/evaluation.py", "def f():\n    from matplotlib.figure import Figure"),
        ("keras_impl/web/page.py", "import jinja2"),
        ("faces/photos/row_formats.py", "def f():\n    import pyarrow.parquet as pq"),
        ("parity_tests/test_x.py", "import keras, torch, keras_impl, torch_ref\nfrom parity_tests import tolerances"),
    ],
)
def test_permitted_import_passes(path, source):
    assert not [violation(path, name, lazy) for name, lazy in imports(source) if violation(path, name, lazy)]


def test_files_are_short():
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert "faces/labels.py" in lengths
    assert not {path: lines for path, lines in lengths.items() if lines > MAX_LINES}


def test_module_names_say_something():
    assert not [path for path in python_files() if Path(path).name in EMPTY_NAMES]


def test_one_place_prepares_the_process_and_knows_the_shipped_model():
    for words, owner in (("TF_CPP_MIN_LOG_LEVEL", "faces/startup.py"), ("face_age_gender.keras", "faces/startup.py")):
        code = [path for path in python_files() if not path.startswith(("tests/", "parity_tests/"))]
        strings = {path: _strings((ROOT / path).read_text(encoding="utf-8")) for path in code}
        assert [path for path in code if any(text.endswith(words) for text in strings[path])] == [owner]


def _strings(source):
    return [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def reporting_calls(source):
    """Names of what is called to tell a user something: print, and the methods of a logger."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for call in calls:
        if isinstance(call, ast.Name) and call.id == "print":
            yield "print"
        if isinstance(call, ast.Attribute) and getattr(call.value, "id", "") in ("_log", "logger", "logging"):
            yield f"log.{call.attr}"


def test_what_a_user_reads_follows_the_rule():
    """faces/progress.py says the rule."""
    files = [path for path in python_files() if path.startswith(("faces/", "keras_impl/")) or "/" not in path]
    calls = {path: set(reporting_calls((ROOT / path).read_text(encoding="utf-8"))) for path in files}
    printing = {path.removesuffix(".py") for path, found in calls.items() if "print" in found and "/" in path}
    assert printing == PRINTING
    assert set().union(*calls.values()) <= {"print", "log.getLogger", "log.warning", "log.exception"}
    assert {path for path, found in calls.items() if "log.exception" in found} <= {
        path for path in files if path.startswith("keras_impl/web/")
    }


def test_forbidden_report_is_found():
    source = "def f():\n    print(1)\n    _log.info('x')\n    logging.error('y')\n    other.warning('z')"
    assert list(reporting_calls(source)) == ["print", "log.info", "log.error"]


def test_bars_are_made_in_one_place():
    users = [path for path in python_files() if "tqdm" in dict(imports((ROOT / path).read_text(encoding="utf-8")))]
    assert users == ["faces/progress.py"]


def test_one_module_replaces_files():
    words = {"fsync", "mkstemp", "mkdtemp", "NamedTemporaryFile", "to_csv", "to_json", "savefig"}
    users = set()
    for path in python_files():
        if path.startswith(("tests/", "parity_tests/", "torch_ref/")):
            continue
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        if words & {node.attr for node in attributes} or "os.replace" in map(ast.unparse, attributes):
            users.add(path)
    assert users == {"faces/files.py", "faces/report/page/svg.py"}  # the latter draws into text


# === Twins ===

STACKS = ("keras_impl", "torch_ref")
# What has a twin stands at the address of its twin.
TWINS = {
    "backbones",
    "heads",
    "losses",
    "methods",
    "fits",
    "forest",
    "metrics",
    "weighting",
    "model",
    "layers",
    "checks",
}
# Public names that one stack has alone, and why.
ALONE = {
    "keras_impl": {
        # The nets come from keras.applications.
        "backbones.base: around_127 minus_one_to_one",
        "backbones.catalogue: build_backbone check_backbone describe_weights set_batch_norm_momentum",
        "backbones.downloads: ANSWER_SECONDS STALLED_SECONDS answering_hosts_only",
        "backbones.efficientnet_lite: lite_keys",
        "backbones.resnet: CaffePreprocessing caffe",
        # Only this stack is configured, trained and saved.
        "checks: require_number require_whole",
        "forest: LeafUpdate",
        "methods: fitted_settings split_settings",
        "model: METRIC_NAMES build_model check_names",
        # What torch has or does without: gather, cast, a stable sum of exponentials, layers of full speed.
        "layers: FusedBatchNormalization fuse_batch_normalization",
        "losses.grid: at_class class_numbers constant require_positive require_word",
        "losses.log_space: shifted_log_sum_exp",
        # Its twin is still to be written.
        "losses.distillation: distillation",
    },
    "torch_ref": {
        # The nets that the other stack has from keras.applications, and Keras' arithmetic for them.
        "backbones.base: rescale",
        "backbones.efficientnet: EfficientNet scaled_blocks",
        "backbones.inverted_residual: InvertedBlock InvertedResidualNet round_channels",
        "backbones.mobilenet_v3: MobileNetV3 hard_sigmoid hard_swish",
        "backbones.resnet: ResNet",
        "layers: BatchNorm Normalization SameConv2d",
        # Torch broadcasts what Keras refuses.
        "losses.grid: check_columns",
        "metrics: AGE_TOLERANCE MIN_PROBABILITY",
    },
}


# What a module imports from here it offers itself: what a report prints is the metric that has a twin.
OFFERED = "faces.report.statistics"


def public_names(source):
    """{name: names of its parameters, None where it is no function} of all that a module defines for others."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = [argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)]
        elif isinstance(node, ast.ClassDef):
            found[node.name] = None
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: None for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.ImportFrom) and node.module == OFFERED:
            offered = public_names((ROOT / OFFERED.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8"))
            found |= {alias.name: offered[alias.name] for alias in node.names}
    return {name: parameters for name, parameters in found.items() if not name.startswith("_")}


def addresses(stack):
    """{(dotted module, name): parameters} of the modules that have a twin."""
    found = {}
    for path in (ROOT / stack).rglob("*.py"):
        module = path.relative_to(ROOT / stack).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")
        if module.split(".")[0] in TWINS:
            names = public_names(path.read_text(encoding="utf-8"))
            found |= {(module, name): parameters for name, parameters in names.items()}
    return found


def twin_problems(mine, other, alone):
    """What is wrong with the addresses of one stack beside those of the other.

    Args:
        mine: {(module, name): parameters}.
        other: of the other stack.
        alone: {"module: name name"} that this stack may have alone.
    """
    alone = {(entry.split(": ")[0], name) for entry in alone for name in entry.split(": ")[1].split()}
    problems = [f"{module}.{name} has no twin" for module, name in mine.keys() - other.keys() - alone]
    problems += [f"{module}.{name} stands elsewhere in the twin" for module, name in alone if elsewhere(name, other)]
    problems += [f"{module}.{name} is no longer alone" for module, name in alone - (mine.keys() - other.keys())]
    problems += [
        f"{module}.{name} has other parameters than its twin"
        for module, name in mine.keys() & other.keys()
        if None not in (mine[module, name], other[module, name]) and mine[module, name] != other[module, name]
    ]
    return sorted(problems)


def elsewhere(name, other):
    return any(name == known for _, known in other)


@pytest.mark.parametrize("stack", STACKS)
def test_twins_have_the_same_addresses(stack):
    (twin,) = set(STACKS) - {stack}
    mine = addresses(stack)
    assert ("losses.ordinal", "coral") in mine and ("heads", "HEADS") in mine
    assert twin_problems(mine, addresses(twin), ALONE[stack]) == []


@pytest.mark.parametrize(
    ("source", "twin", "alone", "problem"),
    [
        ("def coral(age): 1", "", (), "m.coral has no twin"),
        ("def coral(age): 1", "def coral(years): 1", (), "m.coral has other parameters than its twin"),
        ("class A: 1", "class A: 1", ("m: A",), "m.A is no longer alone"),
        ("", "", ("m: A",), "m.A is no longer alone"),
        ("_A = 1\nB, C = 2, 3\nD: int = 4", "B = C = 2", (), "m.D has no twin"),
    ],
)
def test_name_without_its_twin_is_found(source, twin, alone, problem):
    mine, other = ({("m", name): value for name, value in public_names(text).items()} for text in (source, twin))
    assert problem in twin_problems(mine, other, alone)


def test_name_at_another_address_is_found():
    mine, other = {("heads.rank", "RankHead"): None}, {("heads.ordinal", "RankHead"): None}
    assert twin_problems(mine, other, ()) == ["heads.rank.RankHead has no twin"]
    assert "heads.rank.RankHead stands elsewhere in the twin" in twin_problems(mine, other, ("heads.rank: RankHead",))
