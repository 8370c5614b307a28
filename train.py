"""Train an age and gender model: python train.py [key=value ...]. src/config.yaml explains every key."""

import os
import re
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from faces.errors import Diverged, UserError, one_line
from faces.startup import run_main

# How runs of a sweep ended that have no result.
diverged: list[Diverged] = []

CONFIG = Path(__file__).with_name("src") / "config.yaml"


@hydra.main(version_base="1.3", config_path="src", config_name="config")
def train(config: DictConfig):
    from keras_impl.experiment.run import run  # load frameworks only after the command line is understood

    hydra_config = HydraConfig.get()
    sweep = hydra_config.mode == RunMode.MULTIRUN
    changes = (item.lstrip("+").partition("=") for item in hydra_config.overrides.task)

    def start():
        try:
            run(
                OmegaConf.to_container(config, resolve=True),
                config_text=OmegaConf.to_yaml(config, resolve=True),
                folder=hydra_config.runtime.output_dir if sweep else None,
                overrides={key: value for key, _, value in changes},
            )
        except Diverged as error:
            if not sweep:
                raise
            print(f"error: {error}", file=sys.stderr)  # the other runs go on
            diverged.append(error)

    # An error that reached hydra would get a line of hydra's before our own.
    run_main(start)


def main():
    if {"-h", "--help"} & set(sys.argv[1:]):  # hydra's own help has the values, but not a word of what they mean
        print(f"usage: python train.py [key=value ...]\n\n{CONFIG.read_text(encoding='utf-8')}", end="")
        return
    # Without this, hydra prints its own errors and those of the run as tracebacks.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        train()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error)) from error
    if diverged:
        raise UserError(f"{len(diverged)} runs of the sweep diverged; its table has no result of them.")


def _explain(error):
    """Hydra's message on one line; for an unknown key also the known keys of its section."""
    message = one_line(error, kind=False)
    unknown = re.search(r"Could not override '([\w.]+)'", message)
    if unknown is None:
        return message
    section, _, _ = unknown[1].rpartition(".")
    config = OmegaConf.load(CONFIG)
    known = OmegaConf.select(config, section) if section else config
    if not isinstance(known, DictConfig):
        section, known = "", config
    prefix = f"{section}." if section else ""
    return f"Unknown key {unknown[1]!r}. Expected one of: {', '.join(prefix + key for key in known)}"


if __name__ == "__main__":
    run_main(main)
