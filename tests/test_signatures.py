"""What readers and tools learn of a function without its body: types of parameters and result, one argument a line."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("faces", "keras_impl", "torch_ref")

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
ENTRY = re.compile(r"\*{0,2}([A-Za-z_]\w*): +\S")
# "x: its text. y: more": a further name inside the text of an entry.
FURTHER = re.compile(r"[.,;] (\w+): ")


def sources():
    """{path: source} of all modules."""
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def definitions(node, prefix="", inside=None):
    """(dotted name, node, class that it stands in) of all classes, functions and methods, not of what is in a body."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield prefix + child.name, child, inside
            yield from definitions(child, f"{prefix}{child.name}.", child)
        elif isinstance(child, FUNCTION):
            yield prefix + child.name, child, inside
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from definitions(child, prefix, inside)


def parameters(function):
    """The ast.arg of every parameter."""
    arguments = function.args
    rest = [each for each in (arguments.vararg, arguments.kwarg) if each]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


# === Annotations ===


def is_public(name):
    return all(not part.startswith("_") or part.endswith("__") for part in name.split("."))


def is_static(function):
    return any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)


def unannotated(source):
    """["function: parameter"] of what has no annotation in the public functions and methods; the result is "return"."""
    found = []
    for name, node, inside in definitions(ast.parse(source)):
        if not isinstance(node, FUNCTION) or not is_public(name):
            continue
        bound = 1 if inside is not None and not is_static(node) else 0
        found += [f"{name}: {each.arg}" for each in parameters(node)[bound:] if each.annotation is None]
        if node.returns is None and node.name != "__init__":
            found.append(f"{name}: return")
    return found


def test_public_functions_are_annotated():
    found = {path: unannotated(source) for path, source in sources().items()}
    assert "faces/labels.py" in found
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(a: int, *b, c=1, **d) -> int: 1", ["f: c", "f: b", "f: d"]),
        ("async def f(a, /): 1", ["f: a", "f: return"]),
        ("class A:\n    def __init__(self, a): 1", ["A.__init__: a"]),
        ("class A:\n    @property\n    def f(self): 1", ["A.f: return"]),
        ("class A:\n    @staticmethod\n    def f(a) -> int: 1", ["A.f: a"]),
        ("if True:\n    def f(a) -> None: 1", ["f: a"]),
        ("class A:\n    def __len__(self): 1", ["A.__len__: return"]),
        ("def f(a: int) -> int:\n    def g(b): 1", []),
        ("def _f(a): 1\nclass _A:\n    def f(self): 1", []),
        ("class A:\n    @classmethod\n    def f(cls) -> int: 1\n    def _g(self, a): 1", []),
    ],
)
def test_missing_annotation_is_found(source, found):
    assert unannotated(source) == found


# === Arguments in docstrings ===


def own_names(node):
    """Attributes that a class defines: in its body, and on `self` in its methods."""
    found = set()
    for child in node.body:
        if isinstance(child, FUNCTION):
            found.add(child.name)
        for each in ast.walk(child):
            if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "self":
                found.add(each.attr)
        if isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
    return found


def with_bases(node, classes):
    """A class and the classes of the packages that it derives from."""
    bases = [base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases]
    return [node, *(each for name in bases if name in classes for each in with_bases(classes[name], classes))]


def known_names(node, section, classes):
    """What entries of a section may name: parameters, fields of a dataclass, attributes."""
    if isinstance(node, FUNCTION):
        return {each.arg for each in parameters(node)}
    family = with_bases(node, classes)
    if section == "Attributes":
        return set().union(*map(own_names, family))
    makers = [each for part in family for each in part.body if isinstance(each, FUNCTION) and each.name == "__init__"]
    fields = {each.target.id for part in family for each in part.body if isinstance(each, ast.AnnAssign)}
    return fields.union(*({each.arg for each in parameters(maker)} for maker in makers))


def entries(docstring, section):
    """Lines of a section of a docstring; the lines that go on with an entry are joined with it."""
    lines, found = iter(docstring.splitlines()), []
    for line in lines:
        if line.strip().startswith(f"{section}:"):
            margin = len(line) - len(line.lstrip())
            found += [rest] if (rest := line.strip().removeprefix(f"{section}:").strip()) else []
            break
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth <= margin:
            break
        if line.strip() and depth == margin + 4:
            found.append(line.strip())
        elif line.strip():
            found[-1] += f" {line.strip()}"
    return found


def badly_told(source, classes=None):
    """["function: entry"] of the entries of Args and Attributes that do not name exactly one known name each."""
    tree = ast.parse(source)
    classes = {name: node for name, node, _ in definitions(tree) if isinstance(node, ast.ClassDef)} | (classes or {})
    found = []
    for name, node, _ in definitions(tree):
        for section in ("Args", "Attributes"):
            told, known = [], known_names(node, section, classes)
            for entry in entries(ast.get_docstring(node) or "", section):
                match = ENTRY.match(entry)
                further = set(FURTHER.findall(entry)) & known
                if not match or match[1] not in known or match[1] in told or further - {match[1]}:
                    found.append(f"{name}: {entry}")
                told += [match[1]] if match else []
    return found


def test_docstrings_name_one_argument_a_line():
    texts = sources()
    trees = [ast.parse(source) for source in texts.values()]
    classes = {name: node for tree in trees for name, node, _ in definitions(tree) if isinstance(node, ast.ClassDef)}
    found = {path: badly_told(source, classes) for path, source in texts.items()}
    assert "faces/labels.py" in found
    assert {path: lines for path, lines in found.items() if lines} == {}


def function_with(*lines):
    text = "\n".join(f"    {line}" for line in ('"""It does.', "", "Args:", *lines, '"""'))
    return f"def f(a, b, *, c, **d):\n{text}\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["    a, b: two at once."],
        ["    a: one. b: another."],
        ["    a: one.", "        c: another one."],
        ["    a: one, and", "        more; b: another."],
        ["    e: unknown."],
        ["    a: once.", "    a: twice."],
        ["    a:"],
        ["    the first one."],
        ["    see elsewhere."],
    ],
)
def test_bad_argument_is_found(lines):
    assert len(badly_told(function_with(*lines))) == 1


def test_arguments_beside_the_heading_are_found():
    assert badly_told('def f(a):\n    """It does.\n\n    Args: see `g`.\n    """') == ["f: see `g`."]


@pytest.mark.parametrize(
    "lines",
    [
        ["    a: one.", "    b: another (Smith, b: A Title), of two kinds: this and that.", "    d: the rest."],
        ["    a: a text", "        that goes on: in detail.", "    **d: the rest."],
        ["    b: {x: 1}, or a list:", "        - one thing", "        - another"],
        [],
        ["    a: one.", "", "Returns:", "    e: what is no argument."],
    ],
)
def test_good_arguments_pass(lines):
    assert badly_told(function_with(*lines)) == []


def test_arguments_and_attributes_of_classes():
    text = (
        'class A:\n    """It is.\n\n    Args:\n        a: one.\n        x: none.\n\n    Attributes:\n        a: one.\n'
        '        b: another.\n        y: none.\n    """\n    c: int\n    def __init__(self, a):\n        self.b = a\n'
        'class B(A):\n    """It is one.\n\n    Args:\n        a: of A.\n        c: its field.\n\n    Attributes:\n'
        '        b: of A.\n        d: own.\n    """\n    @property\n    def d(self): 1\n'
    )
    assert badly_told(text) == ["A: x: none.", "A: a: one.", "A: y: none."]
