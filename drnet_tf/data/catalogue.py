"""The data sets that models train on, with their splits and class names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import tensorflow_datasets as tfds

from drnet_tf.data.decoding import fit_of
from drnet_tf.data.errors import DataError
from drnet_tf.data.fit import Fit
from drnet_tf.data.preparation import prepared_builder

# The percentage of train that is trained on where a set has no split of its own for validation. 90%
# of CIFAR's 50,000 is the customary 45,000; ImageNet's other one in a hundred is 12,811 images.
_TRAIN_PERCENT = {"imagenet2012": 99}
_DEFAULT_TRAIN_PERCENT = 90


@dataclass(frozen=True)
class Dataset:
    """Holds an image-classification set that is ready to be read.

    Attributes:
      name: as the user gave it.
      class_names: by label.
      splits: "train", "validation" and "test" to a split string of tensorflow-datasets
        ("train[:90%]"); "validation" is None where its images are trained on.
      num_examples: images per split, 0 where the split is None.
      builder: the tensorflow-datasets builder.
      decoded: images that pipelines keep in memory, by their own keys, as long as this object
        lives.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[str, str | None]
    num_examples: Mapping[str, int]
    builder: tfds.core.DatasetBuilder = field(repr=False, compare=False)
    decoded: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int | None, int | None, int]:
        """Returns height, width and channels as stored; None where images differ in size."""
        return tuple(self.builder.info.features["image"].shape)

    @property
    def fit(self) -> Fit:
        """Returns how its images are brought to a model's size."""
        return fit_of(self.image_shape)

    def split(self, split: str) -> str:
        """Returns the tensorflow-datasets split string of a split, which must be there."""
        found = self.splits.get(split)
        if found is None:
            available = ", ".join(name for name, value in self.splits.items() if value)
            raise DataError(f"{self.name} has no {split!r} split here: use one of {available}.")
        return found


def open_dataset(
    name: str, data_dir: str | None, *, download: bool = True, train_on_validation: bool = False
) -> Dataset:
    """Opens a data set, preparing it first if it is missing and that is possible.

    Args:
      name: "digits" (built on the spot, no network), "cifar10", "cifar100", "imagenet2012", or any
        set of tensorflow-datasets with an image and a label.
      data_dir: folder of prepared sets; None is tensorflow-datasets' own default. A prepared copy
        is only read.
      download: whether a missing set may be downloaded.
      train_on_validation: train on the validation images too; "validation" is then None.

    Raises:
      DataError: the set is unknown, missing, damaged, empty, or not image classification.
    """
    builder = prepared_builder(name, data_dir, download=download)
    _check_features(name, builder.info)
    splits = _splits(name, builder.info, train_on_validation)
    num_examples = {}
    for role, split in splits.items():
        num_examples[role] = builder.info.splits[split].num_examples if split else 0
        if split and not num_examples[role]:
            raise DataError(
                f"The {role} split of {name} ({split}) is empty: prepare {name} again, or choose a "
                "set with images in it."
            )
    return Dataset(
        name=name,
        class_names=_class_names(builder.info.features["label"]),
        splits=MappingProxyType(splits),
        num_examples=MappingProxyType(num_examples),
        builder=builder,
    )


def _check_features(name: str, info: tfds.core.DatasetInfo) -> None:
    features = dict(info.features) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    image, label = features.get("image"), features.get("label")
    if not isinstance(image, tfds.features.Image) or not isinstance(
        label, tfds.features.ClassLabel
    ):
        raise DataError(
            f"{name} has no 'image' and class 'label' features (it has {', '.join(features)}): "
            "choose an image-classification set."
        )
    if image.np_dtype != "uint8" or image.shape[-1] not in (1, 3):
        raise DataError(
            f"The images of {name} are {image.np_dtype} with {image.shape[-1]} channels: choose a "
            "set of uint8 images with 1 or 3 channels."
        )


def _splits(name: str, info: tfds.core.DatasetInfo, merge: bool) -> dict[str, str | None]:
    available = set(info.splits)
    test = next((split for split in ("test", "validation") if split in available), None)
    if name == "imagenet2012":
        test = "validation" if "validation" in available else None  # its test labels are secret
    if "train" not in available or test is None:
        needed = "'validation'" if name == "imagenet2012" else "'test' or 'validation'"
        raise DataError(
            f"{name} has the splits {sorted(available)}: needed are 'train' and {needed}."
        )
    own_validation = "validation" in available and test != "validation"
    if merge:
        train = "train+validation" if own_validation else "train"
        return {"train": train, "validation": None, "test": test}
    if own_validation:
        return {"train": "train", "validation": "validation", "test": test}
    percent = _TRAIN_PERCENT.get(name, _DEFAULT_TRAIN_PERCENT)
    return {"train": f"train[:{percent}%]", "validation": f"train[{percent}%:]", "test": test}


def _class_names(label: tfds.features.ClassLabel) -> tuple[str, ...]:
    # A prepared copy may lack its file of names; the numbers then serve.
    names = getattr(label, "_str2int", None) and label.names
    return tuple(names) if names else tuple(str(index) for index in range(label.num_classes))
