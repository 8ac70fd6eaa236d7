"""What the configurations of all families share: their checks, and their form in JSON."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import numpy as np
from keras import ops

from drnet_tf.errors import InputError, require


@dataclasses.dataclass(frozen=True)
class Config:
    """Holds what every configuration begins with.

    A family adds `mean`, `deviation` and fields of its own. The metadata of a field may have its
    `choices`, the `least` that it can be as a whole number, `flag`, false where it is none, and
    `shapes`, false where no shape in the network depends on it.

    Args:
        image_size: height and width of the input in pixels.
        classes: number of classes.
        mean, deviation: of each colour channel on the 0..255 scale, by which the model normalizes.

    Raises:
        InputError: a field has no meaning; the message names the field and what is allowed.
    """

    image_size: int = dataclasses.field(metadata={"least": 8})
    classes: int = dataclasses.field(metadata={"least": 2})

    def __post_init__(self):
        for field in dataclasses.fields(self):
            name, value = field.name, getattr(self, field.name)
            if allowed := field.metadata.get("choices"):
                require(value in allowed, f"{name} must be one of {', '.join(allowed)}", value)
            if (least := field.metadata.get("least")) is not None:
                whole = isinstance(value, int | np.integer) and bool(value >= least)
                require(whole, f"{name} must be a whole number of at least {least}", value)
            if name in ("mean", "deviation"):
                finite = len(value) == 3 and bool(np.all(np.isfinite(value)))
                require(finite, f"{name} must be three finite numbers", value)
                require(name == "mean" or min(value) > 0, f"{name} must be positive", value)
                # JSON gives lists back: tuples keep the configuration hashable and comparable.
                object.__setattr__(self, name, tuple(float(v) for v in value))

    def normalized(self, images):
        """Computes (images - mean) / deviation, float32, of images with channels last."""
        mean, deviation = (np.asarray(getattr(self, k), "float32") for k in ("mean", "deviation"))
        return (ops.cast(images, "float32") - mean) / deviation

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration in the types that JSON has."""
        return {name: _as_list(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Makes the configuration of a dictionary, which may have lists for tuples."""
        unknown = set(values) - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise InputError(f"unknown fields of a {cls.__name__}: {', '.join(sorted(unknown))}")
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fields)


def pixels() -> Any:
    """Makes a field of three numbers on the 0..255 scale, which is no flag: the task says it."""
    return dataclasses.field(
        default=(127.5, 127.5, 127.5), metadata={"flag": False, "shapes": False}
    )


def _as_list(value: Any) -> Any:
    return [_as_list(part) for part in value] if isinstance(value, tuple) else value
