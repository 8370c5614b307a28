"""What the configuration of a checkpoint says besides its net: every key with its type and range.

A checkpoint may be damaged, older or newer than this program, or made to do harm. What a prediction depends on must be
known to the last key; of the training, which is told and compared only, further keys are no error.
"""

import math
import reprlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from faces.alignment import MAX_MARGIN
from faces.errors import UserError
from faces.labels import GENDERS
from keras_impl.checkpoint.archive import BadCheckpoint
from keras_impl.heads import HEADS, GenderHead
from keras_impl.methods import METHODS, split_settings
from keras_impl.settings import STRICT, Share, Text, Year

CLASS_NAME = "faces>FaceModel"
MOST_SIDE = 4096  # pixels of an image that a net takes
_OPEN = ConfigDict(**{**STRICT, "extra": "allow"})

Numbers = Annotated[list[Any], Field(max_length=100_000)]
Ages = Annotated[list[Annotated[float, Field(ge=-1000, le=1000)]], Field(min_length=2, max_length=10_000)]


class _Crop(BaseModel):
    model_config = STRICT
    margin: Annotated[float, Field(ge=0, le=MAX_MARGIN)] = 0.0
    aligned: bool = False


class _Division(BaseModel):
    """`keras_impl.input.face_data.SPLIT_KEYS`, without a key where an older version did not know it."""

    model_config = STRICT
    protocol: Text | list[Text] = "default"
    split_csv: Text | dict[str, Text] | None = None
    fold: Text | int | None = None
    folds: Annotated[int, Field(ge=2, le=10**6)] = 5
    val_share: Share = 0.1
    test_share: Share = 0.1
    split_seed: int = 0


class _Trivial(BaseModel):
    model_config = STRICT
    trivial_age: Annotated[float, Field(ge=0, le=200)] | None = None
    trivial_gender: Literal["female", "male"] | None = None


class _Provenance(_Division):
    model_config = _OPEN
    db: Text | Annotated[list[Text], Field(min_length=1)] | None = None
    csv: Text | None = None
    backbone: Text | None = None
    age_label: Literal["real", "apparent"] = "real"
    trivial: _Trivial = _Trivial()


class _Calibration(BaseModel):
    model_config = _OPEN
    level: Annotated[float, Field(gt=0, lt=1)]
    quantile: Annotated[float, Field(ge=0, le=1e6)]
    n: Annotated[int, Field(ge=1)]
    db: Text | None = None
    split: Text | None = None
    division: _Division | None = None


class _Correction(BaseModel):
    model_config = _OPEN
    said: Ages
    meant: Ages
    n: Annotated[int, Field(ge=1)]
    db: Text | None = None
    split: Text | None = None
    division: _Division | None = None


class _Grid(BaseModel):
    """Of an age head; its further arguments are those of its class."""

    model_config = _OPEN
    min_age: Year
    max_age: Year
    decode: Text | None = None
    trees: Annotated[int, Field(ge=1, le=10_000)] = 1
    depth: Annotated[int, Field(ge=2, le=20)] = 2
    units: Annotated[int, Field(ge=1, le=100_000)] = 1
    initial_bias: float | Numbers | None = None


class _AgeHead(BaseModel):
    model_config = _OPEN
    registered_name: Literal[tuple(f"faces>{head.__name__}" for head in HEADS.values())]  # type: ignore[valid-type]
    config: _Grid


class _GenderHead(BaseModel):
    model_config = _OPEN
    registered_name: Literal[f"faces>{GenderHead.__name__}"]  # type: ignore[valid-type]


def _none_if_empty(content: Any) -> Any:
    return None if content == {} else content


class _Facts(BaseModel):
    """The arguments of `keras_impl.model.FaceModel`, as its `get_config` gives them."""

    model_config = STRICT
    name: Text = "face_model"
    backbone: dict[str, Any]
    age_head: _AgeHead | None
    gender_head: _GenderHead | None
    method: Text
    method_params: dict[str, Any] = {}
    dropout: Share = 0.0
    crop: _Crop = _Crop()
    provenance: _Provenance = _Provenance()
    calibration: Annotated[_Calibration | None, BeforeValidator(_none_if_empty)] = None
    correction: Annotated[_Correction | None, BeforeValidator(_none_if_empty)] = None
    genders: list[Text]
    trainable: bool = True
    dtype: Any = None


def check_facts(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that `FaceModel.from_config` and the users of the model could stumble over.

    Args:
        config: of the whole file, as Keras writes it.

    Raises:
        BadCheckpoint: what is wrong, as the end of a sentence.
    """
    if config.get("registered_name") != CLASS_NAME:
        raise BadCheckpoint(
            f"it is a Keras model, but not a checkpoint of this program ({config.get('class_name')!s:.60})"
        )
    content = config.get("config")
    try:
        facts = _Facts.model_validate(content)
    except ValidationError as error:
        raise BadCheckpoint(_first(error)) from None
    _check_meaning(facts)


def _check_meaning(facts: _Facts) -> None:
    if facts.age_head is None and facts.gender_head is None:
        raise BadCheckpoint("it has neither an age head nor a gender head")
    if tuple(facts.genders) != GENDERS:
        raise BadCheckpoint(f"its gender order is {facts.genders}, this version expects {list(GENDERS)}")
    if facts.age_head is not None:
        _check_age_head(facts.method, facts.age_head)
    if facts.correction is not None:
        _check_correction(facts.correction)
    db, protocol = facts.provenance.db, facts.provenance.protocol
    if isinstance(protocol, list) and len(protocol) != (len(db) if isinstance(db, list) else 1):
        raise BadCheckpoint(f"provenance.protocol: it names {len(protocol)} protocols for the data of {db!r:.80}")
    try:
        split_settings(facts.method, facts.method_params)
    except UserError as error:
        raise BadCheckpoint(_end_of_sentence(error)) from None
    if not _all_finite(facts.method_params):
        raise BadCheckpoint("a parameter of its method is no finite number")


def _check_age_head(method: str, head: _AgeHead) -> None:
    grid = head.config
    if grid.min_age >= grid.max_age:
        raise BadCheckpoint(f"its min_age {grid.min_age} is not below its max_age {grid.max_age}")
    expected = HEADS[METHODS[method].head] if method in METHODS else None
    if expected is not None and head.registered_name != f"faces>{expected.__name__}":
        raise BadCheckpoint(f"its age head is none of its method {method}")
    known = next(each for each in HEADS.values() if head.registered_name == f"faces>{each.__name__}").DECODES
    if grid.decode is not None and grid.decode not in known:
        raise BadCheckpoint(f"its decode is {grid.decode!r:.60}, this version knows {', '.join(known)}")


def _check_correction(found: _Correction) -> None:
    if len(found.said) != len(found.meant):
        raise BadCheckpoint(f"its correction has {len(found.said)} ages said and {len(found.meant)} meant")
    if any(after <= before for before, after in pairwise(found.said)) or found.meant != sorted(found.meant):
        raise BadCheckpoint("its correction of the ages is not monotone")


def _all_finite(content: Any) -> bool:
    if isinstance(content, Mapping):
        return all(map(_all_finite, content.values()))
    if isinstance(content, list):
        return all(map(_all_finite, content))
    return not isinstance(content, int | float) or math.isfinite(content)


def _end_of_sentence(error: UserError) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


def _first(error: ValidationError) -> str:
    """The first error of pydantic in words."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith("_")) or "its configuration"
    if first["type"] == "missing":
        return f"it has no {place}"
    if first["type"] == "extra_forbidden":
        return f"it has {place!s:.80}, which this version does not know: a newer one may have written it"
    return f"{place}: {first['msg'][:1].lower()}{first['msg'][1:]:.200}. Received: {reprlib.repr(first['input'])}"
