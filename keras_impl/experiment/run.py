"""`train.py` without hydra: plain configuration values -> a finished run folder."""

import contextlib
import itertools
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faces.errors import Diverged, UserError
from faces.files import write_text, writing
from faces.keras_start import own_settings
from faces.label_files.checksums import require_whole, write_checksums
from faces.locks import locked
from keras_impl.devices import set_precision
from keras_impl.experiment.configuration import Configuration, read_configuration
from keras_impl.experiment.fold import READ_ON_RESUME, run_fold
from keras_impl.experiment.folds import run_folds
from keras_impl.experiment.sweep import write_diverged, write_sweep_report
from keras_impl.input.face_data import SPLIT_KEYS, divide, load_data
from keras_impl.training.recipe import check_augmentation, check_backend

_log = logging.getLogger(__name__)


@own_settings()
def run(
    values: Mapping[str, Mapping[str, Any]],
    *,
    config_text: str,
    folder: str | Path | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Path:
    """Train and evaluate one model as the configuration says.

    Args:
        values: the keys of src/config.yaml, {section: {key: value}}.
        config_text: the same as YAML, for the run folder.
        folder: of the run in a sweep; None makes runs/<time>_<db>_<backbone>_<method>.
        overrides: what the command line changed, {key: value}, for the table of a sweep.

    Returns:
        Path of the run folder.

    Raises:
        UserError: bad input, or a run folder that another process writes into; nothing has been written then. A
            training that diverged.
    """
    config = read_configuration(values)
    check_backend(config.train, mixup=config.augment.mixup > 0)
    check_augmentation(config.train, config.augment)
    set_precision(config.train.mixed_precision)
    section = config.data
    data = load_data(
        section.db,
        root=section.root,
        csv=section.csv,
        meta_dir=section.meta_dir,
        limit=section.limit,
        verify=section.verify,
        pack_size=config.model.img_size if section.cache == "packed" else None,
        packed_dir=section.packed_dir,
    )
    folds = divide(data, **{key: getattr(section, key) for key in SPLIT_KEYS})

    with contextlib.ExitStack() as lock:

        def open_folder() -> tuple[Path, bool]:
            return _open_run_folder(config, config_text, folder, lock)

        try:
            if len(folds) == 1:
                run_folder = run_fold(config, data, folds[0], open_folder, overrides=overrides)
            else:
                run_folder = run_folds(config, data, folds, open_folder, overrides=overrides)
        except Diverged as error:
            if folder is not None:
                write_diverged(Path(folder), overrides or {}, error)
            raise
    if folder is not None:
        write_sweep_report(run_folder.parent)
    return run_folder


# === Run folder ===

# Lines of a configuration by which a run may differ from the one that it resumes.
KEPT_APART = ("resume: true", "resume: false", "verify: true", "verify: false")


def _open_run_folder(
    config: Configuration, config_text: str, folder: str | Path | None, lock: contextlib.ExitStack
) -> tuple[Path, bool]:
    """(run folder with the configuration in it, whether it is resumed); nobody else writes into it until `lock`
    closes."""
    runs = Path(config.run.dir)
    if config.train.resume:
        unfinished = _unfinished_run(runs, config_text)
        if unfinished is not None:
            lock.enter_context(locked(unfinished, "The run folder"))
            if not (unfinished / "metrics.json").exists():
                return unfinished, True
        print(f"No unfinished run of this configuration below {runs}: a new one starts. A finished one is not resumed.")
    if folder is None:
        words = (time.strftime("%Y%m%d-%H%M%S"), "+".join(config.data.names), config.model.model_name)
        folder = runs / "_".join([*words, config.method.name])
        folder = _new_folder(folder)
    else:
        folder = Path(folder)  # hydra has made it
        with writing(folder, "The run folder"):
            folder.mkdir(parents=True, exist_ok=True)
    lock.enter_context(locked(folder, "The run folder"))
    if (folder / "config.yaml").exists():
        raise UserError(f"The run folder {folder} holds a run already. Choose another, as with hydra.sweep.dir=FOLDER")
    write_text(folder / "config.yaml", config_text)
    write_checksums(folder, READ_ON_RESUME)
    return folder, False


def _new_folder(wanted: Path) -> Path:
    """Make a folder that nobody has: two runs may begin in one second."""
    with writing(wanted, "The run folder"):
        for number in itertools.count(1):
            folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}_{number}")
            with contextlib.suppress(FileExistsError):
                folder.mkdir(parents=True)
                return folder
    raise AssertionError("itertools.count ends")


def _unfinished_run(runs: Path, config_text: str) -> Path | None:
    """The newest folder below `runs` without a result and with the same configuration but for train.resume."""
    wanted = _without_resume(config_text)
    for config in sorted(runs.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime, reverse=True):
        finished = config.with_name("metrics.json").exists()
        if not finished and _lines_of(config) == wanted:
            return config.parent
    return None


def _lines_of(config: Path) -> list[str]:
    """What `_unfinished_run` compares of a configuration; nothing of one that is damaged, which is said."""
    try:
        require_whole(config, remedy="The run beside it cannot be resumed.")
        return _without_resume(config.read_text(encoding="utf-8"))
    except (UserError, UnicodeDecodeError) as error:
        _log.warning("%s", error if isinstance(error, UserError) else f"{config} is no text in UTF-8")
        return []


def _without_resume(config_text: str) -> list[str]:
    return [line for line in config_text.splitlines() if line.strip() not in KEPT_APART]
