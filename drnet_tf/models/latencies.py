"""Measured latencies of the units of a network, as the resource R of Eq. 8.

Made by `python -m export.latency_table` on the device or machine that matters; a JSON file.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from drnet_tf.errors import UserError, require
from drnet_tf.models.objective import Resource
from drnet_tf.models.registry import FAMILIES, family_of

UNIT = "microseconds"


@dataclasses.dataclass(frozen=True, eq=False)
class LatencyTable:
    """Holds latencies for one image.

    Args:
        config: the network that was measured.
        units: float [*units], microseconds, 0 or more; "branches" in the file.
        fixed: of what always runs, microseconds, more than 0.
        facts: where and how it was measured, in the types that JSON has.
    """

    config: Any
    units: np.ndarray
    fixed: float
    facts: dict[str, Any]

    def __post_init__(self):
        shape = family_of(self.config).cost(self.config).units
        found = np.shape(self.units)
        require(found == shape, f"branches must have the shape {list(shape)}", list(found))
        if not (np.all(np.isfinite(self.units)) and np.min(self.units) >= 0):
            raise UserError("branches must be numbers of microseconds, 0 or more")
        positive = 0 < self.fixed < np.inf
        require(positive, "fixed must be a number of microseconds above 0", self.fixed)

    @property
    def resource(self) -> Resource:
        """Returns what E[R] counts with this table."""
        return Resource(np.asarray(self.units, np.float64), float(self.fixed))

    def check_config(self, config: Any) -> None:
        """Checks that a network has the units that were measured."""
        measured, wanted = self.config.to_dict(), config.to_dict()
        for field in dataclasses.fields(config):
            name = field.name
            if field.metadata.get("shapes", True) and measured.get(name) != wanted[name]:
                raise UserError(
                    f"it is of another network: its {name} is {measured.get(name)}, not "
                    f"{wanted[name]}; measure this one with python -m export.latency_table"
                )

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of the file."""
        return {
            "unit": UNIT,
            **self.facts,
            "family": family_of(self.config).name,
            "config": self.config.to_dict(),
            "fixed": float(self.fixed),
            "branches": np.asarray(self.units, np.float64).tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LatencyTable:
        """Reads the content of a file, which the message of an error does not name."""
        try:
            facts = dict(values)
            unit, fixed = facts.pop("unit"), float(facts.pop("fixed"))
            # Before there were families there was DRNet.
            family = FAMILIES[facts.pop("family", "drnet")]
            config = family.config.from_dict(facts.pop("config"))
            units = np.array(facts.pop("branches"), np.float64)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"it is no table of latencies: {error!r}") from error
        if unit != UNIT:
            raise UserError(f"its unit must be {UNIT}, not {unit}")
        return cls(config, units, fixed, facts)

    @classmethod
    def read(cls, path: pathlib.Path | str, config: Any) -> LatencyTable:
        """Reads the table of a file, for a network, which must be the one measured."""
        if not pathlib.Path(path).is_file():
            raise UserError(
                f"there is no file {path}; python -m export.latency_table --output={path} makes one"
            )
        try:
            table = cls.from_dict(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
            table.check_config(config)
        except UserError as error:
            raise UserError(f"{path} does not serve: {error}") from error
        except ValueError as error:
            raise UserError(f"{path} is no JSON file: {error}") from error
        return table
