"""The embedded data set: 1,797 handwritten digits of 8x8 pixels that come with scikit-learn.

It needs no network, so every command line, test and example runs with it anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

SPLIT_SIZES = {"train": 1197, "validation": 200, "test": 400}
_SPLIT_SEED = 1797

_DESCRIPTION = """
Handwritten digits, grey, 8x8 pixels: the 1,797 images of the test part of the UCI "Optical
Recognition of Handwritten Digits" data set, as shipped with scikit-learn. The original values
0..16 are scaled to 0..255. The split is fixed: 1,197 train, 200 validation and 400 test images,
stratified, so that a class has in each split its share of the whole to within one image.
"""

_CITATION = """
@misc{alpaydin1998optical,
  author = {Alpaydin, E. and Kaynak, C.},
  title = {Optical Recognition of Handwritten Digits},
  year = {1998},
  howpublished = {UCI Machine Learning Repository},
  doi = {10.24432/C50P49}
}
"""


class Digits(tfds.core.GeneratorBasedBuilder):
    """Builds the embedded digits for tensorflow-datasets: image uint8 [8, 8, 1], label 0..9."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Fixed stratified split of 1197, 200 and 400 images."}

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(8, 8, 1)),
                    "label": tfds.features.ClassLabel(names=CLASS_NAMES),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            citation=_CITATION,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        del dl_manager  # nothing to download
        # scikit-learn is needed to prepare the data, not to read it.
        from sklearn.datasets import load_digits

        values, labels = load_digits(return_X_y=True)
        images = np.round(values * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
        return {
            split: self._generate_examples(images, labels, members)
            for split, members in stratified_split(labels).items()
        }

    def _generate_examples(
        self, images: np.ndarray, labels: np.ndarray, members: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for index in members:
            yield int(index), {"image": images[index], "label": int(labels[index])}


def stratified_split(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the indices of the examples of each split, always the same.

    The members of each class, shuffled, are spread evenly over the interval (0, 1); the splits are
    consecutive pieces of all examples in that order, so each holds every class in proportion.
    """
    # RandomState, because NumPy keeps its stream the same for ever; Generator's may change.
    random = np.random.RandomState(_SPLIT_SEED)
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        position[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = np.argsort(position, kind="stable")
    ends = np.cumsum(list(SPLIT_SIZES.values()))
    pieces = np.split(order, ends[:-1])
    return dict(zip(SPLIT_SIZES, pieces, strict=True))
