"""What prediction costs beside its parts: python benchmarks/prediction.py [--photos DIR --rounds 7]

Each round runs every part once, so a machine whose speed drifts does no harm; medians are printed.
- Crop files: from files to a CSV file as `predict.py --crops` does, beside decoding alone, by as many threads, and the
  bare model alone. Target: 90 % of the speed that these two together allow.
- Crops in memory: `Predictor` beside `predict_on_batch` of the bare model. Target: 95 %.
- Photos: the same from whole photos, with the share of each stage.
Then the memory of a process that predicts --rows rows, after a fifth of them and at the end. The exit code is 1 if a
target is missed. The crops are those of data/UTKFace, or drawn where there are none; so are photos without --photos.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from faces.startup import SHIPPED_CHECKPOINT, run_main

# isort: split

import keras
import numpy as np
from PIL import Image

from faces.errors import UserError
from faces.images import read_rgb, resize_rgb
from faces.label_files.data_folder import list_images
from faces.photos.paths import list_pictures
from faces.photos.rows import open_rows
from faces.photos.streaming import PictureEstimates, stream_estimates
from faces.sample import make_sample
from keras_impl.photos import PhotoPredictor

ROOT = Path(__file__).resolve().parents[1]
UTKFACE = ROOT / "data" / "UTKFace"
BATCH = 64
FILES, MEMORY, GROWTH = 0.90, 0.95, 1.05  # targets


def main():
    arguments = parse_arguments()
    if arguments.memory_only:
        return print(*resident_after(arguments.memory_only, arguments.rows))
    with tempfile.TemporaryDirectory() as folder:
        crops = crop_files(Path(folder), arguments.crops)
        photos = photo_files(Path(folder), arguments.photos, crops)
        print(f"{len(crops)} crops, {len(photos)} photos, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        bench = Bench(PhotoPredictor.load(SHIPPED_CHECKPOINT), Path(folder) / "rows.csv")
        met = [compare_files(bench, crops, arguments.rounds), compare_memory(bench, crops, arguments.rounds)]
        share_of_stages(bench, photos, max(1, arguments.rounds // 3))
        if arguments.rows:
            met.append(compare_resident(crops, Path(folder), arguments.rows))
    return 0 if all(met) else 1


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folder of photos")
    parser.add_argument("--crops", type=int, default=2000, help="number of crop files")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the memory measurement, 0 leaves it out")
    parser.add_argument("--memory_only", type=Path, metavar="LIST", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    for name, low in (("crops", BATCH), ("rounds", 1), ("rows", 0)):
        if getattr(parsed, name) < low:
            raise UserError(f"--{name} must be at least {low}. Received: {getattr(parsed, name)}")
    return parsed


# === Input ===


def crop_files(folder, count):
    """Paths of `count` JPEG files of 200 px."""
    if UTKFACE.is_dir() and len(names := list_images(UTKFACE)) >= count:
        return [str(UTKFACE / name) for name in names[:count]]
    make_sample(folder / "crops", count=count, seed=0, size=200)
    return [str(folder / "crops" / name) for name in list_images(folder / "crops")]


def photo_files(folder, given, crops):
    """Paths of the photos given, or of 24 pictures of 1600 x 1200 px with six crops each, enlarged to 400 px."""
    if given is not None:
        return [str(given / name) for name in list_images(given)]
    (folder / "photos").mkdir()
    for number in range(24):
        photo = np.full((1200, 1600, 3), 120, np.uint8)
        for place in range(6):
            x, y = 100 + 500 * (place % 3), 133 + 533 * (place // 3)
            photo[y : y + 400, x : x + 400] = resize_rgb(read_rgb(crops[(6 * number + place) % len(crops)]), 400)
        Image.fromarray(photo).save(folder / "photos" / f"{number:02}.jpg", quality=92)
    return [str(folder / "photos" / name) for name in list_images(folder / "photos")]


# === Stages ===


class Bench:
    """The parts of a prediction, each alone."""

    def __init__(self, photos, output):
        self.photos, self.output = photos, output
        images = keras.Input((self.size, self.size, 3))
        self.bare = keras.Model(images, photos.predictor.model.predict_faces(images))
        self._pool = ThreadPoolExecutor(os.cpu_count())

    @property
    def size(self):
        return self.photos.predictor.image_size

    def in_threads(self, function, items):
        # A task of one image would cost the threads a good part of their speed.
        chunks = [items[start : start + 32] for start in range(0, len(items), 32)]
        parts = self._pool.map(lambda chunk: [function(item) for item in chunk], chunks)
        return [result for part in parts for result in part]

    def predict_bare(self, faces):
        """faces: uint8 (N, S, S, 3), N a multiple of BATCH, or fewer."""
        return [self.bare.predict_on_batch(faces[start : start + BATCH]) for start in range(0, len(faces), BATCH)]

    def write(self, results):
        with open_rows(self.output, "csv") as table:
            for result in results:
                table.write(result.rows())
            table.finish()

    def end_to_end(self, paths, crops):
        self.write(stream_estimates(list_pictures(paths), self.photos, crops=crops))

    def stack(self, crops):
        """(N, S, S, 3), filled up to whole batches."""
        crops = [resize_rgb(crop, self.size) for crop in crops]
        return np.stack(crops + crops[-1:] * (-len(crops) % BATCH))


def timed(functions, rounds):
    """{name: seconds of each round}; every function runs once before, unmeasured."""
    seconds = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(parts, whole):
    """Median over the rounds of the sum of the parts divided by the whole."""
    return statistics.median(sum(turn) / all_of_it for *turn, all_of_it in zip(*parts, whole, strict=True))


def print_stages(seconds, count, total):
    """A line for each stage: microseconds an item, and share of the sum of all stages but `total`."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    everything = sum(value for name, value in medians.items() if name != total)
    for name, value in medians.items():
        share = "" if name == total else f"{value / everything:7.0%}"
        print(f"  {name:12} {1e6 * value / count:10.0f} us {share}")


# === Comparisons ===


def compare_files(bench, paths, rounds):
    """Crop files to a CSV file; returns whether the target is met."""
    images = [read_rgb(path) for path in paths]
    faces = bench.stack(images)
    results = list(stream_estimates(list_pictures(paths), bench.photos, crops=True))
    seconds = timed(
        {
            "decode": lambda: bench.in_threads(read_rgb, paths),
            "resize": lambda: bench.in_threads(lambda image: resize_rgb(image, bench.size), images),
            "predict": lambda: bench.predict_bare(faces),
            "write": lambda: bench.write(results),
            "end to end": lambda: bench.end_to_end(paths, crops=True),
        },
        rounds,
    )
    print(f"\ncrop files, microseconds a face, median of {rounds} rounds")
    print_stages(seconds, len(paths), "end to end")
    ratio = median_ratio([seconds["decode"], seconds["predict"]], seconds["end to end"])
    rate = len(paths) / statistics.median(seconds["end to end"])
    print(f"  {rate:.0f} faces/s: {ratio:.1%} of what decode and predict together allow, target {FILES:.0%}")
    return ratio >= FILES


def compare_memory(bench, paths, rounds):
    """Crops in memory at the size of the model; returns whether the target is met."""
    # The difference is small: short turns and many of them.
    faces, rounds = bench.stack([read_rgb(path) for path in paths[:512]]), 4 * rounds
    functions = {"bare model": lambda: bench.predict_bare(faces), "Predictor": lambda: bench.photos.predictor(faces)}
    seconds = timed(functions, rounds)
    ratio = median_ratio([seconds["bare model"]], seconds["Predictor"])
    print("\ncrops in memory, microseconds a face")
    for name, values in seconds.items():
        print(f"  {name:12} {1e6 * statistics.median(values) / len(faces):10.0f} us")
    print(f"  Predictor reaches {ratio:.1%} of the bare model, target {MEMORY:.0%}")
    return ratio >= MEMORY


def share_of_stages(bench, paths, rounds):
    """Photos to a CSV file."""
    images = [read_rgb(path) for path in paths]
    found = [bench.photos.detect(image) for image in images]
    crops = [bench.photos.cut(image, face) for image, faces in zip(images, found) for face in faces]
    if not crops:
        raise UserError("The photos show no face.")
    faces = bench.stack(crops)
    estimates = iter(bench.photos.estimate_crops(crops, [face for faces in found for face in faces]))
    pictures = zip(list_pictures(paths), found)
    results = [PictureEstimates(picture, [next(estimates) for _ in faces]) for picture, faces in pictures]
    seconds = timed(
        {
            "decode": lambda: bench.in_threads(read_rgb, paths),
            "detect": lambda: [bench.photos.detect(image) for image in images],
            "cut": lambda: [bench.photos.cut(image, face) for image, faces in zip(images, found) for face in faces],
            "predict": lambda: bench.predict_bare(faces),
            "write": lambda: bench.write(results),
            "end to end": lambda: bench.end_to_end(paths, crops=False),
        },
        rounds,
    )
    print(f"\nphotos with {len(crops)} faces in all, microseconds a photo, median of {rounds} rounds")
    print_stages(seconds, len(paths), "end to end")


# === Memory ===


def compare_resident(paths, folder, rows):
    """Memory of a process of its own, which reads a list of the crops over and over; whether it stays flat."""
    listed = folder / "list.csv"
    listed.write_text("img_path\n" + "".join(f"{paths[row % len(paths)]}\n" for row in range(rows)))
    command = [sys.executable, __file__, "--memory_only", str(listed), "--rows", str(rows)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    early, late = (int(value) for value in answer)
    growth = late / early
    print(f"\nresident memory: {early} MiB after {rows // 5} rows, {late} MiB after {rows}: {growth - 1:+.1%}")
    return growth <= GROWTH


def resident_after(listed, rows):
    """Resident MiB of this process after a fifth of the rows of a list of crops, and after all."""
    sizes, photos = [], PhotoPredictor.load(SHIPPED_CHECKPOINT)
    with open_rows(listed.with_suffix(".out.csv"), "csv") as table:
        results = stream_estimates(list_pictures([listed]), photos, crops=True)
        for number, result in enumerate(results, 1):
            table.write(result.rows())
            if number in (rows // 5, rows):
                status = Path("/proc/self/status").read_text()
                sizes.append(int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024)
    return sizes


if __name__ == "__main__":
    sys.exit(run_main(main))
