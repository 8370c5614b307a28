"""The table of what bounds the step, and that each variant is what its name says."""

import pytest

from benchmarks import step_variants
from benchmarks.step_variants import BASE, VARIANTS, make_step, parse_arguments, print_table
from benchmarks.training_nets import Net
from faces.errors import UserError
from keras_impl.layers import FusedBatchNormalization, fuse_batch_normalization

TINY = Net("FaceResNet10", 32, 4)


def test_ratio_is_that_of_the_medians(capsys):
    print_table("net", ({BASE: [100, 90, 300], "XLA": [50, 60, 10]}, {"one thread": "no answer within 600 s"}))
    lines = capsys.readouterr().out.splitlines()
    assert "| as train.py | 100 | 90 to 300 | 1.00 |" in lines
    assert "| XLA | 50 | 10 to 60 | 0.50 |" in lines
    assert lines[-1] == "| one thread | failed: no answer within 600 s | | |"


@pytest.mark.parametrize("words", [["--nets", "ResNet51-96"], ["--rounds", "0"], ["--seconds", "0"]])
def test_bad_values_are_refused(words):
    with pytest.raises(UserError, match=r"ResNet51-96|--rounds|--seconds"):
        parse_arguments(words)


def test_only_the_named_thing_differs(monkeypatch):
    built = []
    build = step_variants.our_model
    monkeypatch.setattr(step_variants, "our_model", lambda *args, **kw: built.append(build(*args, **kw)) or built[-1])
    for change in {"fused": False}, {}, {"xla": True}:
        monkeypatch.setattr("keras_impl.model.fuse_batch_normalization", fuse_batch_normalization)
        make_step(TINY, "off", None, **change)
    fused = [any(isinstance(layer, FusedBatchNormalization) for layer in model.backbone.layers) for model in built]
    assert fused == [False, True, True]
    assert [bool(model.jit_compile) for model in built] == [False, False, True]


@pytest.mark.slow
def test_a_step_of_every_variant_runs():
    measured = step_variants.measure(TINY, parse_arguments(["--rounds", "1", "--seconds", "0.05"]))
    assert set(measured[0]) == set(VARIANTS) and not measured[1]
    assert all(speed > 0 for (speed,) in measured[0].values())
