"""The configuration of a training: each key of src/config.yaml with its type and range, read and checked once.

The values come from src/config.yaml and the command line; there are no other defaults. What a key means is explained
there too, so nothing of it stands here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from faces.errors import UserError
from faces.labels import Output
from faces.registry import Registry
from faces.splits.protocols import PROTOCOLS
from keras_impl.backbones import check_backbone
from keras_impl.heads import HEADS
from keras_impl.input.augment import Augmentation
from keras_impl.input.face_data import db_names
from keras_impl.input.images import Cache
from keras_impl.input.labels import AgeLabel
from keras_impl.methods import METHODS, split_settings
from keras_impl.settings import STRICT, Count, File, Positive, Share, Text, Year, one_of, that
from keras_impl.training.recipe import Recipe
from keras_impl.weighting import KERNELS, SCHEMES


def _known_data_sets(db: Any) -> Any:
    db_names(db)
    return db


def _known_protocols(protocol: Any) -> Any:
    for name in [protocol] if isinstance(protocol, str) else protocol:
        PROTOCOLS[name]
    return protocol


def _known_weights(weights: str | None) -> str | None:
    if weights is None or weights in ("auto", "imagenet"):
        return weights
    if not weights.endswith(".keras"):
        raise UserError(f"model.weights must be auto, imagenet, null or a .keras file. Received: {weights!r}")
    if not Path(weights).is_file():
        raise UserError(f"The checkpoint {weights} does not exist.")
    return weights


# === Sections ===


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Data:
    db: Annotated[Text | list[Text], AfterValidator(_known_data_sets)]
    db_weights: list[Positive] | None
    root: File | None
    csv: File | None
    meta_dir: File
    age_label: AgeLabel
    limit: Count | None
    verify: bool
    cache: Cache | Literal["packed"]
    cache_dir: File
    packed_dir: File
    protocol: Annotated[Text | list[Text], AfterValidator(_known_protocols)]
    split_csv: File | Annotated[dict[Literal["train", "val", "test"], File], Field(min_length=1)] | None
    folds: Annotated[int, Field(ge=2, le=10**6)]
    fold: Text | int | None
    val_share: Share
    test_share: Share
    split_seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return (self.db,) if isinstance(self.db, str) else tuple(self.db)

    def __post_init__(self) -> None:
        for key in ("db_weights", "protocol"):
            value = getattr(self, key)
            if isinstance(value, list) and len(value) != len(self.names):
                raise UserError(f"data.{key} must have one item for each of {', '.join(self.names)}. Received: {value}")


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Model:
    model_name: Text
    img_size: Annotated[int, Field(le=4096)]
    outputs: Annotated[
        list[Output],
        that(lambda names: 0 < len(names) == len(set(names)), "model.outputs must name age, gender or both"),
    ]
    weights: Annotated[Text | None, AfterValidator(_known_weights)]
    dropout: Share
    batch_norm_momentum: Share | None
    min_age: Year
    max_age: Year
    batch_size: Count | None

    def __post_init__(self) -> None:
        check_backbone(self.model_name, self.img_size)
        if self.min_age >= self.max_age:
            raise UserError(f"model.min_age must lie below model.max_age. Received: {self.min_age} and {self.max_age}")


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Method:
    name: Annotated[Text, one_of(METHODS)]
    decode: Text | None
    params: dict[str, Any]

    def __post_init__(self) -> None:
        decodes = HEADS[METHODS[self.name].head].DECODES
        if self.decode is not None and self.decode not in decodes:
            known = ", ".join(decodes)
            raise UserError(f"method.decode must be one of {known} for {self.name}. Received: {self.decode!r}")
        split_settings(self.name, self.params)


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Weighting:
    """Section `weighting`: arguments of `keras_impl.weighting.age_weights`."""

    scheme: Annotated[Text, one_of(Registry("weighting scheme", dict.fromkeys(SCHEMES)))]
    lds: bool
    kernel: Annotated[Text, one_of(Registry("LDS kernel", dict.fromkeys(KERNELS)))]
    kernel_size: Annotated[
        Annotated[int, Field(ge=1, le=999)],
        that(lambda size: size % 2, "weighting.kernel_size must be an odd whole number"),
    ]
    kernel_sigma: Positive


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Wandb:
    project: Text | None
    name: Text | None


@checked_dataclass(frozen=True, kw_only=True, config=STRICT)
class Run:
    dir: File
    bootstrap: Annotated[int, Field(ge=1, le=10**6)]
    pictures: bool


@dataclass(frozen=True)
class Configuration:
    """All sections of src/config.yaml but hydra's own."""

    data: Data
    model: Model
    method: Method
    train: Recipe
    augment: Augmentation
    weighting: Weighting
    wandb: Wandb
    run: Run


_SECTIONS = {each.name: each.type for each in fields(Configuration)}


# === Reading ===


def read_configuration(values: Mapping[str, Mapping[str, Any]]) -> Configuration:
    """The values of src/config.yaml as changed on the command line -> Configuration.

    `model.batch_size` stands for `train.batch_size` where it is set.

    Args:
        values: {section: {key: value}}.

    Raises:
        UserError: a value of another type or out of its range; the message names key, expectation and value.
    """
    sections = {name: _read_section(name, section, values.get(name)) for name, section in _SECTIONS.items()}
    config = Configuration(**sections)
    if config.model.batch_size is not None:
        config = replace(config, train=replace(config.train, batch_size=config.model.batch_size))
    if config.model.outputs == ["gender"] and not config.train.gender_weight:
        raise UserError("train.gender_weight must be above 0 where model.outputs has gender only. Received: 0")
    return config


def _read_section(name: str, section: Any, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise UserError(f"{name} must be a section of keys, as in src/config.yaml. Received: {values!r}")
    try:
        return section(**values)
    except ValidationError as error:
        raise UserError(_one_line(name, section, values, error)) from None


def _one_line(name: str, section: Any, values: Mapping[str, Any], error: ValidationError) -> str:
    """What the first wrong value of a section should be."""
    first = error.errors()[0]
    if isinstance(first.get("ctx", {}).get("error"), UserError):
        return str(first["ctx"]["error"])
    key = str(first["loc"][0])
    if first["type"] in ("missing", "unexpected_keyword_argument"):
        return f"{name}.{key}: {first['msg'].lower()}"
    too_large = first["type"].startswith("less_than")
    expected = _in_words(TypeAdapter(section).json_schema()["properties"][key], too_large)
    return f"{name}.{key} must be {expected}. Received: {values[key]!r}"


def _in_words(schema: Mapping[str, Any], too_large: bool) -> str:
    """A JSON schema as words, "a whole number >= 1 or null"; a limit that nobody means to reach is told who did."""
    if "anyOf" in schema:
        return " or ".join(_in_words(option, too_large) for option in schema["anyOf"])
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kind = schema.get("type")
    if kind == "array":
        return f"a list, each item {_in_words(schema['items'], too_large)}"
    plain = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "a mapping"}
    word = schema.get("description") or schema.get("const") or plain.get(str(kind), kind)
    return f"{word}{_bounds(schema, too_large)}".replace("string", "text")


def _bounds(schema: Mapping[str, Any], too_large: bool) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    shown = high is not None and (too_large or high <= 1000)
    if low is not None and shown:
        return f" from {low} to {high}"
    signs = {">=": low, ">": schema.get("exclusiveMinimum"), "<": schema.get("exclusiveMaximum"), "<=": high}
    if not shown:
        del signs["<="]
    found = [f"{sign} {limit}" for sign, limit in signs.items() if limit is not None]
    return f" {' and '.join(found)}" if found else ""
