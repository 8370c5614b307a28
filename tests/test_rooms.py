"""Imports inside a package point one way, between modules and between rooms, and a room holds few flat modules."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("faces", "keras_impl", "torch_ref")
# Past this a reader searches. A reader file for each data set is what `faces/datasets` is for.
MOST_FLAT_MODULES = 16


def dotted(path):
    """faces/report/page/__init__.py -> faces.report.page"""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def modules(package):
    """{dotted name: source} of all modules of a package."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {dotted(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


def imported(sources):
    """{module: modules of the same package that it imports}, at any place of the file."""
    graph = {}
    for name, source in sources.items():
        found = set()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {each if each in sources else node.module for each in inside}
        graph[name] = (found & set(sources)) - {name}
    return graph


def between_rooms(graph):
    """The same graph of the rooms: folders and modules directly below the package."""
    room = {name: ".".join(name.split(".")[:2]) for name in graph}
    rooms = {each: set() for each in room.values()}
    for name, targets in graph.items():
        rooms[room[name]] |= {room[target] for target in targets} - {room[name]}
    return rooms


def circle(graph):
    """Modules that import each other in a circle; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_circle(package):
    graph = imported(modules(package))
    assert sum(map(len, graph.values())) > len(graph)  # it has seen the imports
    assert circle(graph) == []
    assert circle(between_rooms(graph)) == []


def test_a_circle_is_found():
    sources = {
        "p.a.one": "from p.b import two",
        "p.b.two": "x = 1",
        "p.b.three": "def f():\n    import p.a.four",
        "p.a.four": "from p.a.one import g",
    }
    graph = imported(sources)
    assert graph["p.b.three"] == {"p.a.four"} and graph["p.a.four"] == {"p.a.one"}
    assert circle(graph) == [] and set(circle(between_rooms(graph))) == {"p.a", "p.b"}
    assert circle(imported(sources | {"p.b.two": "from p.b.three import f"}))


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_are_small(package):
    folders = [ROOT / package, *(path for path in (ROOT / package).rglob("*") if path.is_dir())]
    counts = {path.relative_to(ROOT).as_posix(): len(list(path.glob("*.py"))) - 1 for path in folders}
    assert {name: count for name, count in counts.items() if count > MOST_FLAT_MODULES} == {}
