"""What all age heads share."""

from typing import Any

import keras
import numpy as np

from faces.labels import MAX_AGE, MIN_AGE, age_grid


class AgeHead(keras.layers.Layer):
    """An age grid and the name of a decode.

    Heads compute in float32 (or float64) even under mixed precision: bfloat16 would make ages above 64 half years.
    """

    DECODES: tuple[str, ...] = ("clip",)

    def __init__(
        self,
        *,
        min_age: int = MIN_AGE,
        max_age: int = MAX_AGE,
        decode: str | None = None,
        name: str = "age_head",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", keras.config.floatx())
        super().__init__(name=name, **kwargs)
        self.grid = age_grid(min_age, max_age)
        self.min_age, self.max_age = min_age, max_age
        self.decode_name = decode or self.DECODES[0]
        if self.decode_name not in self.DECODES:
            raise ValueError(f"decode must be one of {self.DECODES}. Received: {decode!r}")

    def dense(self, units: int, name: str, **kwargs: Any) -> keras.layers.Dense:
        """A Dense layer of this head's precision."""
        return keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **kwargs)

    def constant_weight(self, values: np.ndarray, name: str, *, trainable: bool = True) -> keras.Variable:
        """A weight that starts at `values`, an array."""
        return self.add_weight(
            shape=values.shape,
            initializer=lambda shape, dtype: keras.ops.convert_to_tensor(values, dtype=dtype),
            trainable=trainable,
            name=name,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(min_age=self.min_age, max_age=self.max_age, decode=self.decode_name)
        return config
