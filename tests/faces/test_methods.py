"""The descriptions of the methods: complete, without contradictions, and put together with code."""

from types import SimpleNamespace

import pytest

from faces.methods import DESCRIPTIONS, AgeMethod, make_methods

NEEDS = {"age_std", "age_low", "age_high", "progress"}
every_method = pytest.mark.parametrize("name", DESCRIPTIONS)


def stack():
    """Modules with a loss of each method's name and all named fits."""
    losses = SimpleNamespace(**{name: f"loss of {name}" for name in DESCRIPTIONS})
    fits = SimpleNamespace(**{text["fit"]: f"fit {text['fit']}" for text in DESCRIPTIONS.values() if "fit" in text})
    return losses, fits


@pytest.fixture
def methods():
    return make_methods(*stack(), callbacks={"coral": "callback"})


def test_a_method_has_its_own_code(methods):
    coral = methods["coral"]
    assert isinstance(coral, AgeMethod)
    assert (coral.loss, coral.fit, coral.callback) == ("loss of coral", "fit fit_ranks", "callback")
    assert methods["cross_entropy"].fit is None and methods["l1"].callback is None
    assert list(methods) == list(DESCRIPTIONS)


@pytest.mark.parametrize(("part", "missing"), [(0, "sord"), (1, "fit_ranks")])
def test_missing_code_is_named(part, missing):
    code = stack()
    delattr(code[part], missing)
    with pytest.raises(AttributeError, match=missing):
        make_methods(*code)


@every_method
def test_description_names_head_paper_and_known_needs(name, methods):
    assert methods[name].head and methods[name].paper
    assert set(methods[name].needs) <= NEEDS


@every_method
def test_a_setting_belongs_to_one_part(name, methods):
    method = methods[name]
    parts = (method.params, method.head_params, method.training_params, method.callback_params)
    assert len(method.settings) == sum(map(len, parts))


@every_method
def test_switches_name_parameters_and_start_with_their_defaults(name, methods):
    method = methods[name]
    assert all(method.settings[key] == words[0] for key, words in method.switches.items())
    assert {key for key, value in method.settings.items() if isinstance(value, str)} <= set(method.switches)
