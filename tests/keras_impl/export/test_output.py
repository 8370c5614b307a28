"""How large an export is."""

from keras_impl.export.output import size_of


def test_size_counts_every_part(tmp_path):
    for name, size in (("m.xml", 3), ("m.bin", 40), ("folder/saved_model.pb", 500), ("folder/variables/a", 6000)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    assert size_of(tmp_path / "m.xml", "openvino") == 43 and size_of(tmp_path / "folder", "saved_model") == 6500
    assert size_of(tmp_path / "m.xml", "onnx") == 3
