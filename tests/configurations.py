"""The configuration of src/config.yaml, changed as on the command line."""

from pathlib import Path

from omegaconf import OmegaConf

CONFIG = Path(__file__).resolve().parents[1] / "src" / "config.yaml"


def changed_values(*overrides):
    """(values, text): the sections but hydra's as nested dicts, and the same as YAML."""
    config = OmegaConf.load(CONFIG)
    del config["hydra"]
    config = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
    return OmegaConf.to_container(config, resolve=True), OmegaConf.to_yaml(config, resolve=True)


def configured(*overrides):
    """The Configuration."""
    from keras_impl.experiment.configuration import read_configuration

    return read_configuration(changed_values(*overrides)[0])
