"""What backend and devices decide: strategy, batch size and compiler."""

import contextlib

import keras
import pytest

from keras_impl import devices


@pytest.mark.parametrize(
    ("backend", "names", "accelerators", "replicas", "compiles"),
    [
        ("tensorflow", ["cpu:0"], 0, 1, False),
        ("tensorflow", ["gpu:0", "gpu:1"], 2, 2, True),
        ("jax", ["cpu:0"], 0, 1, True),
        ("jax", ["cpu:0", "cpu:1"], 0, 2, True),
        ("jax", ["gpu:0", "gpu:1", "gpu:2"], 3, 3, True),
        ("torch", [], 0, 1, False),
    ],
)
def test_devices_of_a_backend(machine, backend, names, accelerators, replicas, compiles):
    machine(backend, *names)
    assert devices.accelerators() == accelerators
    assert devices.replicas() == replicas
    assert devices.compiles_steps() is compiles


def test_one_device_needs_no_strategy():
    assert isinstance(devices.make_strategy(), contextlib.nullcontext)


# === bfloat16 on a processor ===


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 xsave\n", True),
        ("flags : fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f\nbugs: avx512_bf16\n", False),
        ("processor : 0\n", None),
    ],
)
def test_processor_tells_whether_it_has_bfloat16(tmp_path, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    assert devices.has_bfloat16(tmp_path / "cpuinfo") is expected
    assert devices.has_bfloat16(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("word", "names", "unit", "said"),
    [
        ("on", ["cpu:0"], False, True),
        ("on", ["cpu:0"], True, False),
        ("on", ["cpu:0"], None, False),
        ("on", ["gpu:0"], False, False),
        ("auto", ["cpu:0"], False, False),
        ("off", ["cpu:0"], False, False),
    ],
)
def test_slow_bfloat16_is_said(machine, monkeypatch, caplog, word, names, unit, said):
    machine("tensorflow", *names)
    monkeypatch.setattr(devices, "has_bfloat16", lambda: unit)
    before = keras.config.dtype_policy()
    try:
        devices.set_precision(word)
    finally:
        keras.config.set_dtype_policy(before)
    assert ("several times slower" in caplog.text) == said == (len(caplog.records) == 1)
