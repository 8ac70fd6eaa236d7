"""Training images in random order, from tensorflow-datasets and from an .npz file alike."""

import numpy as np
import pytest

from drnet_tf.data.errors import DataError
from drnet_tf.data.evaluation_images import first_images, open_images, random_images
from drnet_tf.errors import UserError


@pytest.fixture(params=["digits", "npz"])
def images(request, digits_folder, tmp_path):
    if request.param == "digits":
        return open_images("digits", str(digits_folder), 8)
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (50, 8, 8, 3)).astype(np.uint8)
    # Sorted by class.
    labels = np.repeat(np.arange(5), 10)
    path = tmp_path / "sorted.npz"
    np.savez(
        path,
        train_images=pixels,
        train_labels=labels,
        test_images=pixels[:5],
        test_labels=labels[:5],
    )
    return open_images(str(path), None, 8)


def _rows(pixels):
    return {image.tobytes() for image in pixels}


def test_random_images_are_training_images_drawn_from_the_seed(images):
    drawn = random_images(images, 20, seed=3)
    assert drawn.shape == (20, 8, 8, 3) and drawn.dtype == np.float32
    everything = first_images(images, "train", images.count("train"))
    assert _rows(drawn) <= _rows(everything)
    np.testing.assert_array_equal(random_images(images, 20, seed=3), drawn)
    for other in (random_images(images, 20, seed=4), everything[:20]):
        assert _rows(other) != _rows(drawn)


def test_more_random_images_than_there_are_give_all_of_them(images):
    everything = first_images(images, "train", images.count("train"))
    assert _rows(random_images(images, images.count("train") + 9, seed=0)) == _rows(everything)


def test_epochs_differ_in_order_and_keep_images_and_labels_together(images):
    size = 10
    pairs = [
        (image.tobytes(), int(label))
        for pixels, labels in images.batches("train", size)
        for image, label in zip(pixels, labels, strict=True)
    ]
    epochs = [list(images.shuffled(size, seed=0, epoch=epoch)) for epoch in (1, 2)]
    for epoch in epochs:
        assert all(pixels.shape == (size, 8, 8, 3) for pixels, _ in epoch)
        assert len(epoch) == len(pairs) // size
        drawn = [
            (i.tobytes(), int(n)) for p, labels in epoch for i, n in zip(p, labels, strict=True)
        ]
        assert set(drawn) <= set(pairs)
    assert not np.array_equal(epochs[0][0][0], epochs[1][0][0])
    # The first images of a set that is sorted by class are of one class.
    assert len(np.unique(np.concatenate([labels for _, labels in epochs[0][:2]]))) > 2


def test_batch_larger_than_the_set_is_refused(images):
    with pytest.raises(DataError, match="batch size"):
        next(iter(images.shuffled(images.count("train") + 1, seed=0)))
    with pytest.raises(UserError, match="1 or more, not 0"):
        random_images(images, 0, seed=0)
