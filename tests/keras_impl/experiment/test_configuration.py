"""Reading the configuration: what a run gets, and one line for what no run can use."""

from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from faces.errors import UserError
from keras_impl.experiment.configuration import Configuration, read_configuration
from tests.configurations import CONFIG, changed_values, configured


def test_every_key_of_the_file_has_a_type_and_no_other():
    file = OmegaConf.to_container(OmegaConf.load(CONFIG), resolve=False)
    del file["hydra"]
    typed = {section.name: [key.name for key in fields(section.type)] for section in fields(Configuration)}
    assert {name: list(section) for name, section in file.items()} == typed


def test_nothing_but_the_file_has_a_default():
    for section in fields(Configuration):
        with pytest.raises((TypeError, ValueError), match=fields(section.type)[0].name):
            section.type()


def test_values_arrive_as_they_are():
    config = configured("train.lr=3e-4", "model.outputs=[age]", "data.limit=7", "data.fold=2", "run.dir=out")
    assert (config.train.lr, config.model.outputs, config.data.limit, config.data.fold) == (3e-4, ["age"], 7, 2)
    assert config.run.dir == "out" and config.train.epochs == changed_values()[0]["train"]["epochs"]


def test_batch_size_of_the_model_section_is_an_alias():
    assert configured("model.batch_size=5").train.batch_size == 5
    assert configured("train.batch_size=6").train.batch_size == 6


def test_names_of_one_data_set_or_several():
    assert configured("data.db=utkface").data.names == ("utkface",)
    assert configured("data.db=[sample,fgnet]").data.names == ("sample", "fgnet")


@pytest.mark.parametrize("change", ["remove", "add"])
def test_section_that_is_not_that_of_the_file(change):
    values, _ = changed_values()
    if change == "remove":
        del values["train"]["lr"]
    else:
        values["train"]["lr_rate"] = 1
    with pytest.raises(UserError, match=r"train\.lr\w*: ") as refused:
        read_configuration(values)
    assert "\n" not in str(refused.value)
