"""A file from a stranger costs no more memory than a checkpoint does, and holds nothing else than one."""

import io
import json
import tracemalloc
import zipfile

import h5py
import numpy as np
import pytest

from keras_impl.checkpoint.archive import CONFIG, DEPTH, METADATA, MOST_BYTES, WEIGHTS, BadCheckpoint, read_config

MEGABYTE = 1 << 20


def weights_of(fill=lambda file: file.create_dataset("a/vars/0", data=np.ones((3, 4), np.float32))):
    with io.BytesIO() as content:
        with h5py.File(content, "w") as file:
            fill(file)
        return content.getvalue()


def write(path, *, packing=zipfile.ZIP_DEFLATED, more=(), **members):
    """A `.keras` file with members of these contents; None leaves one out."""
    contents = {METADATA: b"{}", CONFIG: b'{"config": {}}', WEIGHTS: weights_of(), **members}
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in [*contents.items(), *more]:
            if content is not None:
                archive.writestr(name, content)
    return path


def refused(path):
    """Why a file is refused; it took less than 100 MB to see it."""
    tracemalloc.start()
    try:
        with pytest.raises(BadCheckpoint) as caught:
            read_config(path)
        assert tracemalloc.get_traced_memory()[1] < 100 * MEGABYTE
    finally:
        tracemalloc.stop()
    return str(caught.value)


def test_sound_file(tmp_path):
    assert read_config(write(tmp_path / "a.keras")) == ({"config": {}}, 12)
    assert read_config(write(tmp_path / "b.keras", packing=zipfile.ZIP_STORED)) == ({"config": {}}, 12)


@pytest.mark.parametrize("name", [CONFIG, METADATA])
def test_text_is_not_unpacked_without_a_limit(tmp_path, name):
    """Spaces that pack a thousandfold."""
    reason = refused(write(tmp_path / "a.keras", **{name: b" " * (400 * MEGABYTE)}))
    assert reason == f"its {name} takes {400 * MEGABYTE:,} bytes, at most {MOST_BYTES[name]:,} are read"


def test_weights_are_not_unpacked_without_a_limit(tmp_path):
    assert "its model.weights.h5 takes" in refused(write(tmp_path / "a.keras", **{WEIGHTS: bytes(400 * MEGABYTE)}))


def test_announced_size_is_no_promise(tmp_path):
    """More than the list of members says comes out of one."""
    path = write(tmp_path / "a.keras", **{CONFIG: b" " * (200 * MEGABYTE)})
    content = path.read_bytes()
    path.write_bytes(content.replace((200 * MEGABYTE).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    assert "damaged" in refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({CONFIG: None}, "holds only"),
        ({"more": [(CONFIG, b"{}")]}, "'config.json', once too often"),
        ({"more": [("../evil", b"")]}, "'../evil'"),
        ({"more": [("assets/vocabulary.txt", b"")]}, "'assets/vocabulary.txt'"),
        ({"more": [(f"assets/{number}", b"") for number in range(2000)]}, "list of members is too long"),
        ({"packing": zipfile.ZIP_LZMA}, "packed in an unknown way"),
    ],
    ids=["missing", "twice", "outside", "further", "many", "packing"],
)
def test_other_members(tmp_path, changes, reason):
    assert reason in refused(write(tmp_path / "a.keras", **changes))


def test_link_and_password(tmp_path):
    path = write(tmp_path / "a.keras", **{CONFIG: None})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo(CONFIG)
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert "config.json is packed in an unknown way" in refused(path)
    path = write(tmp_path / "b.keras")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "metadata.json is packed in an unknown way" in refused(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * DEPTH + b"{}" + b"}" * DEPTH, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no JSON"),
        (b"\xff\xfe{", "no JSON"),
        (b"[]", "no JSON object"),
        (b"", "no JSON"),
    ],
)
def test_configuration_that_is_none(tmp_path, content, reason):
    assert reason in refused(write(tmp_path / "a.keras", **{CONFIG: content}))


def test_depth_that_nets_need_is_read(tmp_path):
    content = json.dumps({"a": [{"b": [{"c": 1}] * 3}] * 2})
    assert read_config(write(tmp_path / "a.keras", **{CONFIG: content}))[0] == json.loads(content)


def nest(file):
    for _ in range(60):
        file = file.create_group("g")


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/hostname", "data", (4,))
    file.create_virtual_dataset("a", layout)


HUGE = (1 << 20, 1 << 20)


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (lambda file: file.create_dataset("a", HUGE, "f4"), "no plain array"),
        (lambda file: file.create_dataset("a", HUGE, "f4", chunks=(64, 64), compression="gzip"), "no plain array"),
        (lambda file: file.create_dataset("a", (3,), h5py.string_dtype()), "no plain array"),
        (lambda file: file.create_dataset("a", data=h5py.Empty("f4")), "no plain array"),
        (lambda file: file.create_dataset("a", (4,), "f4", external=[("/etc/passwd", 0, 16)]), "another file"),
        (virtual, "another file"),
        (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "the link 'a'"),
        (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/x.h5", "/b")), "the link 'a'"),
        (lambda file: file.__setitem__("a", np.dtype("f4")), "'a', which is no array"),
        (nest, "too many groups"),
        (lambda file: file.create_group("a").__setitem__("again", file["a"]), "too many groups"),
    ],
    ids=["huge", "packed", "strings", "empty", "external", "virtual", "soft", "link", "type", "nested", "circle"],
)
def test_weights_that_are_more_than_arrays(tmp_path, fill, reason):
    assert reason in refused(write(tmp_path / "a.keras", **{WEIGHTS: weights_of(fill)}))


def test_same_numbers_under_many_names(tmp_path):
    def fill(file):
        file.create_dataset("a", data=np.ones(10_000, np.float32))
        for number in range(100):
            file[f"b{number}"] = file["a"]

    assert "more numbers than" in refused(write(tmp_path / "a.keras", **{WEIGHTS: weights_of(fill)}))


def test_weights_that_are_none(tmp_path):
    assert "weights are damaged" in refused(write(tmp_path / "a.keras", **{WEIGHTS: b"no weights"}))
