"""Changes one operator or number of the formulas at a time and counts how many of these mutants the tests notice.

python -m parity_tests.mutants --sample 100 --seed 0

The formulas are those of losses, heads, metrics, weighting, fits and forest in both stacks. A process that holds the
frameworks, but none of our modules, forks for each mutant: the child compiles the changed module and runs pytest in
itself. First run the tests whose expectation is from outside (`parity_tests/test_golden*.py`, and in `tests/torch_ref`
those that ask for the fixture `golden`), then, for what they let live, the parity and unit tests of the changed file,
then those of all formulas.
Mutants that compute the same are in equivalent_mutants.txt, each with its reason, and do not count.
"""

import argparse
import ast
import importlib.util
import math
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STACKS = ("keras_impl", "torch_ref")
FORMULAS = ("losses/*.py", "heads/*.py", "metrics.py", "weighting.py", "fits.py", "forest.py")
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
# Formulas -> the parity tests that compare them.
PARITY = {
    "losses": ("losses", "methods"),
    "heads": ("heads", "methods"),
    "metrics": ("metrics",),
    "weighting": ("forest",),
    "fits": ("methods",),
    "forest": ("forest", "heads", "losses"),
}
SECONDS = 300  # for one run of tests, after which a mutant counts as hanging


def both_ways(text: str) -> dict[str, str]:
    """ "a b|c d" -> each word's other one."""
    pairs = [pair.split() for pair in text.split("|")]
    return {one: other for pair in pairs for one, other in (pair, pair[::-1])}


OPERATORS = both_ways("Add Sub|Mult Div|BitAnd BitOr|Lt LtE|Gt GtE|Eq NotEq|Is IsNot|In NotIn|And Or|LShift RShift")
SWAPS = {getattr(ast, one): getattr(ast, other) for one, other in OPERATORS.items()}
SWAPS |= {ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.Pow: ast.Mult}
NAMES = both_ways(
    "minimum maximum|min max|any all|floor ceil|logical_and logical_or|zeros_like ones_like|argmax argmin"
)
SKIPPED = (ast.Raise, ast.JoinedStr, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Mutant:
    """One change: the number of its node in a walk over the file, and which of the changes of that node it is."""

    path: str
    node: int
    choice: int
    line: int
    before: str
    after: str

    @property
    def key(self) -> str:
        """What stays when lines above are added: file, statement, change."""
        return f"{self.path} | {self.before} | {self.after}"


# === Changes ===


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes in order that are computed with: no messages, imports, annotations, axes, docstrings, decorators."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        if isinstance(node, ast.keyword) and node.arg in ("axis", "dim"):
            continue  # of matrices -1 and 1 are one axis, and a third is an error
        for child in value if isinstance(value, list) else [value]:
            is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            if isinstance(child, ast.AST) and not isinstance(child, SKIPPED) and not is_text:
                yield from walk(child)


def changes(node: ast.AST) -> list[tuple[str, object]]:
    """(field, new value) of each change of one node."""
    if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in SWAPS:
        return [("op", SWAPS[type(node.op)]())]
    if isinstance(node, ast.Compare):
        return [("ops", [SWAPS[type(node.ops[0])](), *node.ops[1:]])]
    if isinstance(node, ast.UnaryOp):
        return [("operand", ast.UnaryOp(node.op, node.operand))]
    if isinstance(node, ast.If | ast.IfExp):
        return [("test", ast.UnaryOp(ast.Not(), node.test))]
    if isinstance(node, ast.Attribute) and node.attr in NAMES:
        return [("attr", NAMES[node.attr])]
    if isinstance(node, ast.Name) and node.id in NAMES:
        return [("id", NAMES[node.id])]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [("value", not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return [("value", node.value + 1)]
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        return [("value", 1.5 * node.value or 1.0)]
    return []


def mutate(tree: ast.Module, node: int, choice: int) -> ast.Module:
    """Change a module's tree."""
    target = list(walk(tree))[node]
    field, value = changes(target)[choice]
    setattr(target, field, value)
    return ast.fix_missing_locations(tree)


def mutants_of(path: str) -> Iterator[Mutant]:
    """Every mutant of one file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    statement = dict[int, ast.AST]()  # id of a node -> the statement that it stands in
    for number, node in enumerate(list(walk(tree))):
        own = node if isinstance(node, ast.stmt) else statement.get(id(node), node)
        statement |= {id(child): own for child in ast.iter_child_nodes(node)}
        if not isinstance(own, ast.stmt):
            continue
        for choice, (field, value) in enumerate(changes(node)):
            before, old = ast.unparse(own), getattr(node, field)
            setattr(node, field, value)
            after = ast.unparse(own)
            setattr(node, field, old)
            yield Mutant(path, number, choice, node.lineno, *first_difference(before, after))


def first_difference(before: str, after: str) -> tuple[str, str]:
    """The first lines that differ in two texts, or all of both."""
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    one, other = next(((one, other) for one, other in pairs if one != other), (before, after))
    return one.strip(), other.strip()


# === Running ===


class ChangedModule:
    """Import hook: one module comes from a changed tree."""

    def __init__(self, mutant: Mutant | None) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        """Of the importlib protocol."""
        if self.mutant is None or name != module_name(self.mutant.path):
            return None
        file = ROOT / self.mutant.path
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(name, file, loader=self, submodule_search_locations=inside)

    def create_module(self, spec: object) -> None:
        """Of the importlib protocol: the usual module."""

    def exec_module(self, module: object) -> None:
        """Of the importlib protocol."""
        file = ROOT / self.mutant.path
        tree = mutate(ast.parse(file.read_text(encoding="utf-8")), self.mutant.node, self.mutant.choice)
        exec(compile(tree, file, "exec"), module.__dict__)


def module_name(path: str) -> str:
    """keras_impl/losses/__init__.py -> keras_impl.losses"""
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


class OutsideOnly:
    """pytest plugin: of the unit tests those that ask for golden numbers."""

    def pytest_collection_modifyitems(self, items: list) -> None:
        items[:] = [each for each in items if "test_golden" in str(each.path) or "golden" in each.fixturenames]


def outside_tests(stack: str) -> list[str]:
    """Where the tests are whose expectation is from outside, see `OutsideOnly`."""
    golden = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("parity_tests/test_golden*.py"))
    return ["tests/torch_ref", *golden] if stack == "torch_ref" else golden


def related_tests(path: str) -> list[str]:
    """The parity and unit tests of one file of formulas."""
    stack, family = path.removesuffix(".py").split("/")[:2]
    unit = [f"tests/{stack}/{family}"] if (ROOT / "tests" / stack / family).is_dir() else []
    unit += [file.relative_to(ROOT).as_posix() for file in (ROOT / "tests" / stack).glob(f"test_{family}*.py")]
    return [*unit, *(f"parity_tests/test_{name}.py" for name in PARITY[family])]


def all_tests(stack: str) -> list[str]:
    """Those of all formulas of a stack."""
    return list(dict.fromkeys(test for family in PARITY for test in related_tests(f"{stack}/{family}.py")))


def passes(mutant: Mutant | None, tests: list[str], *, outside: bool) -> bool:
    """Whether a child of this process with the mutant in it passes the tests in time."""
    child = os.fork()
    if not child:
        os._exit(_run_tests(mutant, tests, outside))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run_tests(mutant, tests, outside):
    import pytest

    silence = os.open(os.environ.get("MUTANT_LOG", os.devnull), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.meta_path.insert(0, ChangedModule(mutant))
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line", "-W", "default"]
    return int(pytest.main([*options, *tests], plugins=[OutsideOnly()] if outside else []))


def load_frameworks() -> None:
    """What every child needs and no mutant changes; TensorFlow must not compute before the fork."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras  # noqa: F401
    import torch

    torch.set_num_threads(1)
    for name in ("hypothesis", "scipy.stats", "sklearn.metrics", "sklearn.mixture", "torchmetrics", "coral_pytorch"):
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.split(".")[0] in STACKS]


# === Report ===


def interval(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson)."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return middle - reach, middle + reach


def line_of(name: str, killed: int, count: int) -> str:
    """A line of the last table."""
    low, high = interval(killed / count, count)
    return f"{name:34} {killed:4} of {count:4}  {killed / count:6.1%}  ({low:.1%} to {high:.1%})"


def outcome(mutant: Mutant) -> tuple[Mutant, str]:
    """Who kills a mutant: "outside", "tests" or "nobody"."""
    stack = mutant.path.split("/")[0]
    if not passes(mutant, outside_tests(stack), outside=True):
        return mutant, "outside"
    if not passes(mutant, related_tests(mutant.path), outside=False):
        return mutant, "tests"
    return mutant, "nobody" if passes(mutant, all_tests(stack), outside=False) else "tests"


def find_mutants(only: str) -> list[Mutant]:
    """Those that are not known as equivalent, of the files whose path holds a text."""
    files = sorted(path for stack in STACKS for glob in FORMULAS for path in (ROOT / stack).glob(glob))
    paths = [file.relative_to(ROOT).as_posix() for file in files]
    known = {line.rsplit(" | ", 1)[0] for line in EQUIVALENT.read_text(encoding="utf-8").splitlines()}
    return [mutant for path in paths if only in path for mutant in mutants_of(path) if mutant.key not in known]


def unchanged_tests(mutants: list[Mutant]) -> list[tuple[str, list[str], bool]]:
    """(name, tests, whether the outside ones) of everything that a mutant may be tried with first."""
    stacks = sorted({mutant.path.split("/")[0] for mutant in mutants})
    paths = sorted({mutant.path for mutant in mutants})
    outside = [(f"outside tests of {stack}", outside_tests(stack), True) for stack in stacks]
    return outside + [(f"tests of {path}", related_tests(path), False) for path in paths]


def fails(check: tuple[str, list[str], bool]) -> str | None:
    """The name of tests that fail without any mutant, which would count as a death of each."""
    name, tests, outside = check
    return None if passes(None, tests, outside=outside) else name


def main() -> None:
    """Try a sample and print who killed each mutant, then the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=100, help="mutants to try, 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--only", default="", help="part of a path")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="mutants at once")
    parser.add_argument("--unchecked", action="store_true", help="trust that the tests pass without a mutant")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    found = find_mutants(arguments.only)
    tried = random.Random(arguments.seed).sample(found, min(arguments.sample or len(found), len(found)))
    print(f"{len(tried)} of {len(found)} mutants", flush=True)
    load_frameworks()
    killers = {}
    with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
        checks = [] if arguments.unchecked else unchanged_tests(tried)
        for name in pool.imap(fails, checks, chunksize=1):
            if name is not None:
                raise SystemExit(f"The {name} fail without any mutant.")
        print(f"{len(checks)} sets of tests pass without a mutant", flush=True)
        for mutant, killer in pool.imap_unordered(outcome, tried):
            killers[mutant] = killer
            print(f"{killer:7} {mutant.path}:{mutant.line}: {mutant.before}  ->  {mutant.after}", flush=True)
    print()
    for stack in ("", *STACKS):
        own = [killer for mutant, killer in killers.items() if mutant.path.startswith(stack)]
        if own:
            name = stack or "both stacks"
            print(line_of(f"{name}, killed", len(own) - own.count("nobody"), len(own)))
            print(line_of(f"{name}, by outside values", own.count("outside"), len(own)))


if __name__ == "__main__":
    main()
