"""The mutants that `parity_tests.mutants` makes; running tests on them takes a process of its own."""

import ast

import pytest

from parity_tests import mutants


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("x = a + b", ["x = a - b"]),
        ("x = a < b", ["x = a <= b"]),
        ("x = 3 * y", ["x = 3 / y", "x = 4 * y"]),
        ("x = 0.5", ["x = 0.75"]),
        ("x = -y", ["x = --y"]),
        ("x = np.floor(y)", ["x = np.ceil(y)"]),
        ("def f(y: list[3] = True) -> int:\n    '''2 + 2'''\n    raise E(1 + 1)", ["def f(y: list[3]=False) -> int:"]),
        ("if not y:\n    pass", ["if not not y:", "if not not y:"]),
        ("import a.min", []),
        ("x = f(y, axis=-1)", []),
    ],
)
def test_changes(source, changed, tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    (tmp_path / "module.py").write_text(source)
    found = list(mutants.mutants_of("module.py"))
    assert [mutant.after for mutant in found] == changed
    for mutant in found:
        tree = mutants.mutate(ast.parse(source), mutant.node, mutant.choice)
        assert mutant.after in ast.unparse(tree) and ast.unparse(tree) != ast.unparse(ast.parse(source))


def test_every_equivalent_mutant_exists_and_has_a_reason():
    lines = mutants.EQUIVALENT.read_text(encoding="utf-8").splitlines()
    keys = {line.rsplit(" | ", 1)[0] for line in lines}
    paths = {key.split(" | ")[0] for key in keys}
    assert keys <= {mutant.key for path in paths for mutant in mutants.mutants_of(path)}
    assert all(len(line.rsplit(" | ", 1)[1]) > 10 for line in lines)


def test_every_file_of_formulas_has_tests_and_mutants():
    found = mutants.find_mutants("")
    paths = {mutant.path for mutant in found}
    assert {"keras_impl/losses/ordinal.py", "torch_ref/metrics.py", "keras_impl/fits.py"} <= paths
    for path in paths:
        tests = [*mutants.related_tests(path), *mutants.outside_tests(path.split("/")[0])]
        assert all((mutants.ROOT / test).exists() for test in tests), tests
