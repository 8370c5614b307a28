"""What is fed with damaged input: each target knows sound inputs, how to damage them, and what must hold afterwards.

A target is a class. Made with a folder of its own, it has `sound` (inputs that are read), `inputs` (a strategy of
damaged ones), `few` (how many of them a run of the tests tries) and `feed(data, folder)`, which gives what was read,
raises a UserError, or fails. Every input is bytes, so that it can be kept as a file.
"""

import io
import json
import zipfile

import numpy as np
import pandas as pd
from PIL import Image
from scipy.io import savemat

from faces.errors import UserError
from faces.images import decode_rgb
from faces.ingest.packed import PackedFaces
from faces.ingest.packing import pack_faces
from faces.label_files.label_table import read_table, write_table
from faces.label_files.matlab import read_mat
from faces.photos.paths import list_pictures, readable_name
from tests.configurations import changed_values
from tests.faces.ingest.pictures import write_images
from tests.fuzz.damage import damaged, with_other_values

# Pillow's name of each format, and how it is written here.
FORMATS = {
    "JPEG": {"quality": 90},
    "PNG": {},
    "WEBP": {},
    "GIF": {},
    "BMP": {},
    "TIFF": {"compression": "tiff_lzw"},
    "JPEG2000": {},
    "AVIF": {},
}


def _table():
    return pd.DataFrame(
        {
            "img_path": [f"part/{number}.jpg" for number in range(12)],
            "age": np.linspace(1, 90, 12),
            "gender": ["female", "male", None] * 4,
            "identity": [f"person {number}" for number in range(12)],
        }
    )


# === Strangers' files ===


class Pictures:
    """Files of every format; what is decoded is a picture."""

    few = 60

    def __init__(self, folder):
        image = Image.effect_mandelbrot((48, 40), (-2, -1.5, 1, 1.5), 50).convert("RGB")
        self.sound = [_encoded(image, name, **options) for name, options in FORMATS.items()]
        self.sound.append(_encoded(image, "JPEG", progressive=True, comment=b"x" * 300))
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        picture = decode_rgb(data)
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size
        return picture


def _encoded(image, name, **options):
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


class LabelTables:
    """The CSV file of somebody's own labels."""

    few = 60

    def __init__(self, folder):
        text = _table().to_csv(index=False)
        self.sound = [text.encode(), text.encode("utf-8-sig"), text.replace(",", ";").encode()]
        self.inputs = damaged([*self.sound, text.encode("utf-16")])

    def feed(self, data, folder):
        path = folder / "labels.csv"
        path.write_bytes(data)
        table = read_table(path)
        assert len(table) and {"img_path"} <= set(table)
        return table


class Lists:
    """Lists of pictures: one path a line, a CSV or a Parquet file. The first byte of an input tells which."""

    few = 60
    names = ("list.txt", "list.csv", "list.parquet")

    def __init__(self, folder):
        table = _table()[["img_path"]]
        contents = ["\n".join(table["img_path"]).encode(), table.to_csv(index=False).encode(), table.to_parquet()]
        self.sound = [bytes([number]) + content for number, content in enumerate(contents)]
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        path = folder / self.names[data[0] % 3 if data else 0]
        path.write_bytes(data[1:])
        pictures = list(list_pictures([path]))
        for picture in pictures:
            readable_name(picture.path).encode()
        return pictures


class Matlab:
    """Label files of IMDB-WIKI and others."""

    few = 5

    def __init__(self, folder):
        file = io.BytesIO()
        savemat(file, {"wiki": {"dob": np.arange(9.0), "full_path": np.array(["a.jpg"] * 9, object)}})
        packed = io.BytesIO()
        savemat(packed, {"wiki": {"dob": np.arange(9.0)}}, do_compression=True)
        self.sound = [file.getvalue(), packed.getvalue()]
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        path = folder / "labels.mat"
        path.write_bytes(data)
        return read_mat(path, ["wiki"])


class Configurations:
    """Any value for any key."""

    few = 60

    def __init__(self, folder):
        self.values, _ = changed_values()
        self.sound = [json.dumps(self.values).encode()]
        self.inputs = with_other_values(self.values, _json)

    def feed(self, data, folder):
        from keras_impl.experiment.configuration import read_configuration

        try:
            values = json.loads(data)
        except (ValueError, RecursionError):  # hydra gives values, never text
            return None
        if not isinstance(values, dict):
            return None
        return read_configuration(values)


def _json(tree):
    return json.dumps(tree).encode("utf-8", "backslashreplace")


class Checkpoints:
    """`.keras` files: bytes of any place, and other values in the configuration."""

    few = 12

    def __init__(self, folder):
        from tests.tiny_checkpoint import save_checkpoint

        sound = save_checkpoint(folder / "sound.keras").read_bytes()
        with zipfile.ZipFile(io.BytesIO(sound)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        self.sound = [sound]
        self.inputs = (
            damaged([sound])
            | with_other_values(json.loads(members["config.json"]), lambda tree: _zipped(members, tree))
            | damaged([members["model.weights.h5"]]).map(lambda data: _zipped(members | {"model.weights.h5": data}))
        )

    def feed(self, data, folder):
        from keras_impl.predictor import Predictor

        path = folder / "model.keras"
        path.write_bytes(data)
        try:
            predictor = Predictor.load(path)
        except UserError as error:
            assert str(path) in str(error)
            raise
        return predictor(np.zeros((1, 32, 32, 3), np.uint8))


def _zipped(members, config=None):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data if config is None or name != "config.json" else _json(config))
    return file.getvalue()


# === Files of our own: what was written, or an error; never something else ===


class OwnTables:
    """`meta/<db>.csv` with its checksum beside it."""

    few = 60

    def __init__(self, folder):
        path = folder / "own.csv"
        write_table(_table(), path)
        self.written, self.sums = read_table(path), path.with_name("own.csv.sha256").read_bytes()
        self.sound = [path.read_bytes()]
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        path = folder / "own.csv"
        path.write_bytes(data)
        path.with_name("own.csv.sha256").write_bytes(self.sums)
        table = read_table(path)
        pd.testing.assert_frame_equal(table, self.written)
        return table


class Packs:
    """All faces in one file."""

    few = 40

    def __init__(self, folder):
        path = folder / "pack.npy"
        pack_faces(write_images(folder, 20), folder, 8, path, db="csv", progress=False)
        self.faces = PackedFaces(path, progress=False)[np.arange(20)]
        self.sound = [path.read_bytes()]
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        path = folder / "pack.npy"
        path.write_bytes(data)
        faces = PackedFaces(path, progress=False)[np.arange(20)]
        np.testing.assert_array_equal(faces, self.faces)
        return faces


class Caches:
    """Decoded faces on disk: a damaged file is made again."""

    few = 40

    def __init__(self, folder):
        self.faces = np.random.default_rng(0).integers(0, 256, (9, 8, 8, 3), np.uint8)
        self._open(folder / "cache.npy")
        self.sound = [(folder / "cache.npy").read_bytes()]
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        path = folder / "cache.npy"
        path.write_bytes(data)
        faces = self._open(path)[np.arange(9)]
        np.testing.assert_array_equal(faces, self.faces)
        return faces

    def _open(self, path):
        from keras_impl.input.disk_cache import DiskCache

        def fill(faces):
            faces[:] = self.faces

        return DiskCache(path, self.faces.shape, "these", fill=fill, read=self.faces.__getitem__)


class States:
    """What an interrupted training goes on from: the newest state, or the one before."""

    few = 40

    def __init__(self, folder):
        from keras_impl.training.state import save_state

        self.states = [{"weights": np.arange(40.0) + number, "epoch": np.asarray(number)} for number in range(2)]
        for state in self.states:
            save_state(folder, state)
        self.older = (folder / "resume_older.npz").read_bytes()
        self.sound = [(folder / "resume.npz").read_bytes()]
        self.inputs = damaged(self.sound)

    def feed(self, data, folder):
        from keras_impl.training.state import load_state

        (folder / "resume.npz").write_bytes(data)
        (folder / "resume_older.npz").write_bytes(self.older)
        state = load_state(folder)
        written = self.states[int(state["epoch"])]
        assert set(state) == set(written)
        for name, array in written.items():
            np.testing.assert_array_equal(state[name], array)
        return state


TARGETS = {
    "pictures": Pictures,
    "label-tables": LabelTables,
    "lists": Lists,
    "matlab": Matlab,
    "configurations": Configurations,
    "checkpoints": Checkpoints,
    "own-tables": OwnTables,
    "packs": Packs,
    "caches": Caches,
    "states": States,
}
