"""Train an age and gender model: python train.py [key=value ...]. src/config.yaml explains every key."""

import math
import os
import re
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from faces.errors import Diverged, UserError, one_line
from faces.keras_start import check_keras
from faces.startup import run_main

# How runs of a sweep ended that have no result.
diverged: list[Diverged] = []

CONFIG = Path(__file__).with_name("src") / "config.yaml"
# Keys whose value is a name of a file or folder, which may hold anything that hydra's grammar has a meaning for.
PATHS = {
    "data.root",
    "data.csv",
    "data.meta_dir",
    "data.cache_dir",
    "data.packed_dir",
    "data.split_csv",
    "model.weights",
    "train.teacher",
    "run.dir",
    "hydra.run.dir",
    "hydra.sweep.dir",
}
_PARSER = OverridesParser.create()


@hydra.main(version_base="1.3", config_path="src", config_name="config")
def train(config: DictConfig):
    run_main(check_keras)
    from keras_impl.experiment.run import run  # load frameworks only after the command line is understood

    hydra_config = HydraConfig.get()
    sweep = hydra_config.mode == RunMode.MULTIRUN

    def start():
        try:
            run(
                OmegaConf.to_container(config, resolve=True),
                config_text=OmegaConf.to_yaml(config, resolve=True),
                folder=hydra_config.runtime.output_dir if sweep else None,
                overrides=dict(map(_change, hydra_config.overrides.task)),
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
    sys.argv[1:] = with_quotes(sys.argv[1:])
    try:
        train()
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(_explain(error)) from error
    if diverged:
        raise UserError(f"{len(diverged)} runs of the sweep diverged; its table has no result of them.")


# === Values that hydra's grammar cannot read ===


def with_quotes(arguments: list[str]) -> list[str]:
    """The command line with quotes around values that hydra cannot read, or would read as something else than a path.

    A value of PATHS is a path, and any value without a grammar is text: what it may be is checked with its key later.
    In a sweep (`-m`) commas separate values.

    Raises:
        UserError: an argument that even quotes do not help; the line shows what to type.
    """
    sweep = bool({"-m", "--multirun"} & set(arguments))
    return [_with_quotes(text, sweep) if _is_change(text) else text for text in arguments]


def _is_change(argument):
    return not argument.startswith("-") and "=" in argument


def _with_quotes(argument, sweep):
    key, _, value = argument.partition("=")
    override, is_path = _parsed(argument), key.lstrip("+") in PATHS
    if override is not None and not (is_path and _is_misread(override, value, sweep)):
        return argument
    if key.lstrip("+") == "data.split_csv" and override is None and (parts := _split_parts(value)):
        quoted = f"{key}={{{', '.join(f'{part}: {_quoted(file)}' for part, file in parts)}}}"
    elif sweep and "," in value and not os.path.lexists(value):
        quoted = f"{key}={','.join(each if _parsed(f'{key}={each}') else _quoted(each) for each in value.split(','))}"
    else:
        quoted = f"{key}={_quoted(value)}"
    if _parsed(quoted) is None:
        raise UserError(
            f"Cannot read {argument!r}. Expected key=value, such as {shlex.quote(f'data.csv={_quoted(value)}')}"
        )
    return quoted


def _parsed(argument):
    """hydra's reading of an argument; None where its grammar has none."""
    try:
        return _PARSER.parse_override(argument)
    except HydraException:
        return None


def _is_misread(override, value, sweep):
    """Whether hydra reads something else than the path that was typed; quotes, null and words of its own are meant."""
    if override.is_sweep_override():
        return os.path.lexists(value) or not sweep
    read = override.value()
    if read is None or read == value:
        return "${" in value and os.path.lexists(value)
    if os.path.lexists(value):
        return True
    if isinstance(read, str):
        return not isinstance(override._value, QuotedString) and not os.path.lexists(read)
    is_number = isinstance(read, int | float) and not isinstance(read, bool)
    return is_number and math.isfinite(read) and value[0].isdigit()


def _quoted(text):
    text = text.replace("${", "\\${") if os.path.lexists(text) else text
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def _split_parts(value):
    """[(part, file)] of `{train: FILE, test: FILE}`."""
    inside = re.fullmatch(r"\{(.*)\}", value, re.DOTALL)
    entries = re.split(r",\s*(?=\w+\s*:)", inside[1]) if inside else []
    pairs = [re.fullmatch(r"\s*(\w+)\s*:\s*(.*?)\s*", entry, re.DOTALL) for entry in entries]
    return [(pair[1], pair[2]) for pair in pairs] if pairs and all(pairs) else None


def _change(argument):
    """(key, value) of an override, without the quotes that only hydra needs."""
    key, _, value = argument.lstrip("+").partition("=")
    override = _parsed(argument)
    is_quoted = override is not None and isinstance(override._value, QuotedString)
    return key, override.value() if is_quoted else value


# === Errors ===


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
