"""The interface of a model family: what training, evaluation, counting and export ask of a model.

A family is an object with the attributes of `Family`, listed in `registry.FAMILIES`. Nothing
outside of its folder knows its name: commands find it by the model's name or by the type of a
configuration.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

from drnet_tf.errors import UserError
from drnet_tf.models.cost import CostTable
from drnet_tf.models.objective import Resource
from drnet_tf.models.schedules import StepValues

WORK, SAVING = "work", "saving"


@dataclasses.dataclass(frozen=True)
class Knob:
    """Trades accuracy for cost after training: one number, which an exported model takes as input.

    All values are finite, so that every runtime and JSON can hold them.

    Args:
        default: the value that a model is used with where nobody says which.
        everything: the value at which all units run.
        least, most: between which a slider moves; other finite values are valid too.
        more_is: "work" where a larger value runs more units, "saving" where it runs fewer.
        shown: what evaluate and report list where nobody says which.
        name: of the flag and of the input of an exported model.
    """

    default: float
    everything: float
    least: float
    most: float
    more_is: str
    shown: tuple[float, ...]
    name: str = "threshold"

    def check(self, value: float, what: str = "") -> float:
        """Returns a value that the knob can take.

        Args:
            what: the flag or argument that the value is from; the knob's name where it is empty.
        """
        if not math.isfinite(value):
            raise UserError(
                f"{what or self.name} must be a finite number, customarily from {self.least:g} to "
                f"{self.most:g}, not {value}"
            )
        return float(value)

    def to_dict(self) -> dict[str, Any]:
        """Returns what model.json says of the knob."""
        values = dataclasses.asdict(self)
        return {name: values[name] for name in values if name != "shown"}


class Routing(NamedTuple):
    """Holds what a model did with each image of a batch.

    Units are what a model can skip; their axes are `units` in shape, and () where nothing routes.
    The first of them orders units by depth.

    Args:
        selected: bool [batch, *units], the units that count for the answer.
        scores: float32 [batch, *units], what the knob is compared with.
        macs: float32 [batch], multiply-accumulates of the selected units and the fixed part.
        own: further tensors by name, for the family's own objective and graph only.
    """

    selected: Any
    scores: Any
    macs: Any
    own: dict[str, Any]


class RoutedModel(Protocol):
    """Describes a keras.Model of a family.

    Attributes:
        config: its architecture.
        cost: what its units and its fixed part cost.
        controls: variables that the schedule sets at every step, by the name of their scalar. They
            are no weights: they are kept in checkpoints, and not averaged.
    """

    config: Any
    cost: CostTable
    controls: Mapping[str, Any]

    def __call__(
        self, images: Any, threshold: Any = None, training: bool = False, **rates: Any
    ) -> tuple[Any, Routing]:
        """Returns float32 logits [batch, classes] and the routing.

        Args:
            images: float [batch, image_size, image_size, 3], pixels in 0..255.
            threshold: the knob's value, a scalar or [batch]; None runs all units.
            rates: of drops, scalars, used in training only.
        """


@dataclasses.dataclass(frozen=True)
class Published:
    """Figures of a publication; None where it has none.

    Args:
        params, macs: of the network with all units, in millions.
        source: where they are from.
        overrides: fields of the configuration that the figures are of, where they are not the
            variant's.
    """

    params: float | None = None
    macs: float | None = None
    source: str = ""
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Variant:
    """Names an architecture.

    Args:
        fields: of the family's configuration, without those that the task gives.
        tasks: names in `tasks.TASKS`; each makes a model `<variant>.<task>`.
        published: figures by task; an ablation has a row of its own.
    """

    fields: Mapping[str, Any]
    tasks: tuple[str, ...]
    published: Mapping[str, tuple[Published, ...]] = dataclasses.field(default_factory=dict)


Objective = Callable[[RoutedModel, Any, Any, Mapping[str, Any]], tuple[Any, dict[str, Any]]]


class Family(Protocol):
    """Describes what the commands know of a kind of model.

    Attributes:
        name: in run.json and model.json.
        config: a frozen dataclass, the architecture. Its fields are flags, its docstring explains
            them; it has `image_size`, `classes`, `mean`, `deviation`, `to_dict` and `from_dict`.
        recipe: a frozen dataclass, how a model is trained: an `Optimization` with more fields.
        recipes: recipes by name; "paper" is the default.
        knob: what trades accuracy for cost, None where nothing routes.
        variants: architectures by name.
        resources: what E[R] can count; () where the objective has no such term.
    """

    name: ClassVar[str]
    config: ClassVar[type[Any]]
    recipe: ClassVar[type[Any]]
    recipes: ClassVar[Mapping[str, Any]]
    knob: ClassVar[Knob | None] = None
    variants: ClassVar[Mapping[str, Variant]]
    resources: ClassVar[tuple[str, ...]] = ()

    def build(self, config: Any, seed: int | None = None, dtype: Any = None) -> Any:
        """Makes a model, whose variables `build` then creates; `seed` is of noise and drops."""

    def cost(self, config: Any) -> CostTable:
        """Counts the network of a configuration from its shapes alone."""

    def step_values(self, recipe: Any, step: int, steps_per_epoch: int) -> StepValues:
        """Computes what step `step`, counted from 0, is done with."""

    def objective(self, recipe: Any, resource: Resource | None) -> Objective:
        """Makes the function of a model, a batch and the step's scalars that training lowers.

        It calls the model, in training. It returns the loss, a float32 scalar, and batch means to
        report by name, `loss` and `accuracy` among them.
        """


def knob_of(family: Family) -> Knob:
    """Returns the knob of a family, which must have routing."""
    if family.knob is None:
        raise UserError(f"models of the family {family.name} have no routing")
    return family.knob
