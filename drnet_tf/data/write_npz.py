"""Writes a data set as one .npz file, for training without TensorFlow.

python -m drnet_tf.data.write_npz --dataset=cifar10 --data_dir=DIR --output=cifar10.npz

CIFAR-10 takes about ten seconds and 184 MB. `in_memory.load_npz` reads the file.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from drnet_tf import command_line
from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.errors import DataError
from drnet_tf.data.in_memory import load_tfds
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.writing import replacing


def write_npz(
    dataset: Dataset, path: str, *, image_size: int | None = None, on_progress: Progress = silent
) -> None:
    """Writes all splits of `dataset`; the file appears complete or not at all.

    Args:
      path: of the file, ending in .npz; its folder is made if need be.
      image_size: height and width; None keeps the stored size, if all images have it.
      on_progress: see `load_tfds`.
    """
    if not path.endswith(".npz"):
        raise DataError(f"The output {path} must end in .npz.")
    height, width, _ = dataset.image_shape
    if image_size is None:
        if height is None or height != width:
            raise DataError(f"The images of {dataset.name} are not all square: give --image_size.")
        image_size = height
    loaded = load_tfds(dataset, image_size=image_size, on_progress=on_progress)
    arrays = {"class_names": np.array(loaded.class_names)}
    for split, (images, labels) in loaded.splits.items():
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = images, labels
    try:
        # A file object, because np.savez adds .npz to a temporary name.
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    except OSError as error:
        raise DataError(
            f"Cannot write {path} ({error.strerror or error}): give another --output."
        ) from error


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string("dataset", None, "Name of the data set.", required=True)
    flags.DEFINE_string("data_dir", None, "Folder of prepared data sets.")
    flags.DEFINE_string("output", None, "The .npz file to write.", required=True)
    flags.DEFINE_integer("image_size", None, "Height and width; by default the stored size.", 1)
    flags.DEFINE_boolean("train_on_validation", False, "Put the validation images into train.")


def main() -> None:
    values = flags.FLAGS
    dataset = open_dataset(
        values.dataset, values.data_dir, train_on_validation=values.train_on_validation
    )
    with ProgressBar(f"reading {dataset.name}") as bar:
        write_npz(dataset, values.output, image_size=values.image_size, on_progress=bar.update)
    sizes = ", ".join(f"{count} {split}" for split, count in dataset.num_examples.items() if count)
    print(f"{values.output}: {sizes} images of {dataset.name}.")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
