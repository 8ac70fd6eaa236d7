"""The embedded digits against scikit-learn's own copy."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.digits import CLASS_NAMES, SPLIT_SIZES, stratified_split
from drnet_tf.data.pipeline import evaluation_batches


def _pixels_and_labels(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    batches = evaluation_batches(dataset, split, image_size=8, batch_size=64)
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_splits_hold_every_image_of_scikit_learn_once(digits: Dataset) -> None:
    found = Counter()
    for split, size in SPLIT_SIZES.items():
        images, labels = _pixels_and_labels(digits, split)
        assert len(labels) == size == digits.num_examples[split]
        assert (images == images[..., :1]).all()  # grey in all three channels
        found.update(
            (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
        )

    bunch = load_digits()
    expected = Counter(
        (np.repeat(np.rint(image * 255 / 16), 3).astype(np.float32).tobytes(), int(label))
        for image, label in zip(bunch.images, bunch.target, strict=True)
    )
    assert found == expected
    assert digits.class_names == CLASS_NAMES


def test_every_split_holds_each_class_in_proportion() -> None:
    labels = load_digits().target
    splits = stratified_split(labels)
    assert sorted(np.concatenate(list(splits.values()))) == list(range(1797))
    share = np.bincount(labels) / 1797
    for split, members in splits.items():
        difference = np.bincount(labels[members]) - share * SPLIT_SIZES[split]
        assert np.abs(difference).max() <= 1.0


@pytest.mark.slow
def test_preparation_survives_an_earlier_one_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, drnet_tf.data.digits as digits\n"
        "from drnet_tf.data.catalogue import open_dataset\n"
        "generate = digits.Digits._generate_examples\n"
        "def stuck(self, *args):\n"
        "    for index, example in enumerate(generate(self, *args)):\n"
        "        if index == 50:\n"
        "            import time; print('halfway', flush=True, file=sys.stderr); time.sleep(100)\n"
        "        yield example\n"
        "digits.Digits._generate_examples = stuck\n"
        f"open_dataset('digits', {str(tmp_path)!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while "halfway" not in process.stderr.readline():
        assert process.poll() is None and time.monotonic() < deadline
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(tmp_path.glob("digits/incomplete*")), "the kill came too late to test anything"

    assert len(_pixels_and_labels(open_dataset("digits", str(tmp_path)), "test")[1]) == 400
