"""Measured latencies of the branches of a network, as the resource R of Eq. 8.

Made by `python -m export.latency_table` on the device or machine that matters; a JSON file.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from drnet_tf.errors import UserError
from drnet_tf.models.drnet.architecture import DRNetConfig
from drnet_tf.models.objective import Resource

UNIT = "microseconds"
#: Fields of a configuration that the shapes of its branches do not depend on.
_OF_NO_EFFECT = ("mean", "deviation", "recalibration", "connection_seed")
#: In run.json, the content of the table of latencies.
LATENCIES = "latencies"


@dataclasses.dataclass(frozen=True, eq=False)
class LatencyTable:
    """Latencies for one image.

    Args:
        config: the network that was measured.
        branches: float [cells, connections, branches], microseconds, 0 or more.
        fixed: of what always runs, microseconds, more than 0.
        facts: where and how it was measured, in the types that JSON has.
    """

    config: DRNetConfig
    branches: np.ndarray
    fixed: float
    facts: dict[str, Any]

    def __post_init__(self):
        config = self.config
        shape = (config.cells, config.connections, len(config.branches))
        if np.shape(self.branches) != shape:
            raise UserError(
                f"branches must be [cells, connections, branches] = {list(shape)}, "
                f"not {list(np.shape(self.branches))}"
            )
        if not (np.all(np.isfinite(self.branches)) and np.min(self.branches) >= 0):
            raise UserError("branches must be numbers of microseconds, 0 or more")
        if not 0 < self.fixed < np.inf:
            raise UserError(f"fixed must be a number of microseconds above 0, not {self.fixed}")

    @property
    def resource(self) -> Resource:
        return Resource(np.asarray(self.branches, np.float64), float(self.fixed))

    def check_config(self, config: DRNetConfig) -> None:
        """
        Raises:
            UserError: the branches of that network have other shapes.
        """
        measured, wanted = self.config.to_dict(), config.to_dict()
        for name in wanted:
            if name not in _OF_NO_EFFECT and measured[name] != wanted[name]:
                raise UserError(
                    f"it is of another network: its {name} is {measured[name]}, not "
                    f"{wanted[name]}; measure this one with python -m export.latency_table"
                )

    def to_dict(self) -> dict[str, Any]:
        """The content of the file."""
        return {
            "unit": UNIT,
            **self.facts,
            "config": self.config.to_dict(),
            "fixed": float(self.fixed),
            "branches": np.asarray(self.branches, np.float64).tolist(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> LatencyTable:
        """
        Raises:
            UserError: it is no such table; the message does not say which.
        """
        try:
            facts = dict(values)
            unit, fixed = facts.pop("unit"), float(facts.pop("fixed"))
            config = DRNetConfig.from_dict(facts.pop("config"))
            branches = np.array(facts.pop("branches"), np.float64)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"it is no table of latencies: {error!r}") from error
        if unit != UNIT:
            raise UserError(f"its unit must be {UNIT}, not {unit}")
        return cls(config, branches, fixed, facts)

    @classmethod
    def read(cls, path: pathlib.Path | str, config: DRNetConfig) -> LatencyTable:
        """The table of a file, for a network.

        Raises:
            UserError: there is no file, it is no such table, or of another network.
        """
        if not pathlib.Path(path).is_file():
            raise UserError(
                f"there is no file {path}; python -m export.latency_table --output={path} makes one"
            )
        try:
            table = cls.from_dict(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
            table.check_config(config)
        except ValueError as error:
            raise UserError(f"{path} is no JSON file: {error}") from error
        except UserError as error:
            raise UserError(f"{path} does not serve: {error}") from error
        return table
