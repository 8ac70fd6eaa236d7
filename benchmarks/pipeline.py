"""Measures images per second of the input pipeline alone, stage by stage.

    python -m benchmarks.pipeline --flagfile=configs/cifar10_drnet_s.flags --data_dir=DIR

takes the flags of drnet_tf.train. Each stage includes those above it, so the last one is what a
training run gets, if nothing else uses the processors. Stages are measured in turns, because other
work on the machine comes and goes; the rate of a stage is the median over the turns.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator

import keras
from absl import flags
from rich.table import Table

from drnet_tf import command_line, training_flags
from drnet_tf.data import evaluation_images, in_memory
from drnet_tf.data.augmentation import Augmentation
from drnet_tf.data.catalogue import Dataset, open_dataset
from drnet_tf.data.damage import guarded
from drnet_tf.data.pipeline import training_batches
from drnet_tf.data.reading import examples, fits_in_memory, records
from drnet_tf.errors import UserError
from drnet_tf.evaluation.tables import cells_table
from drnet_tf.progress import Progress, ProgressBar, silent
from drnet_tf.training.feeds import DeviceFeed

#: The augmentations in the order in which they are applied, with how they are switched off.
PARTS: tuple[tuple[str, dict], ...] = (
    ("random resized crop", {"random_resized_crop": False}),
    ("autoaugment", {"autoaugment": None}),
    ("crop and flip", {"crop_padding": 0, "flip": False}),
    ("cutout", {"cutout": 0}),
)

UNTIMED_BATCHES = 3


@dataclasses.dataclass(frozen=True)
class Stage:
    """Holds a part of the pipeline that is measured.

    Args:
        name: what it adds to the stage above.
        open: gives its elements from the beginning, for an epoch of that number.
        images: in one element.
    """

    name: str
    open: Callable[[int], Iterable]
    images: int


def augmentation_stages(augmentation: Augmentation) -> list[tuple[str, Augmentation]]:
    """Lists nothing, then one more part of an augmentation at a time, in order of application."""
    switched_off = {name: value for _, values in PARTS for name, value in values.items()}
    stages = [("shuffle and batch", dataclasses.replace(augmentation, **switched_off))]
    for name, values in PARTS:
        on = {field: getattr(augmentation, field) for field in values}
        if on != values:
            stages.append((name, dataclasses.replace(stages[-1][1], **on)))
    return stages


def tfdata_stages(
    dataset: Dataset, image_size: int, batch_size: int, augmentation: Augmentation, seed: int
) -> list[Stage]:
    """Lists the stages of --input_pipeline=tfdata."""
    split = dataset.split("train")

    def batches(stage: Augmentation) -> Callable[[int], Iterable]:
        return lambda epoch: guarded(
            training_batches(
                dataset,
                image_size=image_size,
                batch_size=batch_size,
                augmentation=stage,
                seed=seed,
                epoch=epoch,
            ),
            dataset,
            "train",
        )

    def read(epoch: int) -> Iterable:
        return guarded(records(dataset, split).batch(batch_size), dataset, "train")

    def decode(epoch: int) -> Iterable:
        decoded = examples(dataset, split, image_size).batch(batch_size)
        return guarded(decoded.prefetch(2), dataset, "train")

    return [
        Stage("read files", read, batch_size),
        Stage("decode", decode, batch_size),
        *(
            Stage(name, batches(stage), batch_size)
            for name, stage in augmentation_stages(augmentation)
        ),
    ]


def device_stage(feed: DeviceFeed) -> Stage:
    """Gathers and augments on the device, as the compiled training step does it."""
    if keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(feed.prepare)
        arrays = tuple(jax.device_put(array) for array in feed.arrays)
    else:
        import tensorflow as tf

        compiled = tf.function(feed.prepare, autograph=False)
        arrays = tuple(tf.constant(array) for array in feed.arrays)

    def batches(epoch: int) -> Iterator:
        for batch in feed.batches(epoch, 0):
            images, _ = compiled(arrays, *map(keras.ops.convert_to_tensor, batch))
            # One number comes back, as of a training step: without, only its start is timed.
            yield float(images[0, 0, 0, 0])

    return Stage("device feed", batches, feed.batch_size)


def measure(
    stages: list[Stage],
    seconds: float,
    turns: int,
    progress: Progress = silent,
) -> list[list[float]]:
    """Measures the images per second of each stage, in each turn.

    Args:
        seconds: how long each stage runs in each turn; at least one element is timed.
    """
    rates: list[list[float]] = [[] for _ in stages]
    for turn in range(turns):
        for stage, stage_rates in zip(stages, rates, strict=True):
            stage_rates.append(_rate(stage, turn, seconds))
            progress(sum(map(len, rates)), turns * len(stages), stage.name)
    return rates


def _rate(stage: Stage, epoch: int, seconds: float) -> float:
    elements = iter(stage.open(epoch))
    for _ in range(UNTIMED_BATCHES):
        next(elements, None)
    count, start = 0, time.perf_counter()
    while not count or time.perf_counter() - start < seconds:
        if next(elements, None) is None:
            elements = iter(stage.open(epoch))  # from the beginning, whose start-up counts too
            if next(elements, None) is None:
                raise UserError(f"the data gave no batch for the stage {stage.name!r}")
        count += 1
    return count * stage.images / (time.perf_counter() - start)


def table(stages: list[Stage], rates: list[list[float]], title: str) -> Table:
    """Makes a table with a line for each stage: median, and the range over the turns."""
    first = "stage, with those above it"
    rows = [
        {
            first: stage.name,
            "images/s": f"{statistics.median(values):,.0f}",
            "lowest": f"{min(values):,.0f}",
            "highest": f"{max(values):,.0f}",
            "ms per batch": f"{1000 * stage.images / statistics.median(values):.1f}",
        }
        for stage, values in zip(stages, rates, strict=True)
    ]
    return cells_table(rows, title, text=[first])


def define_flags() -> None:
    """Defines the flags of this command, those of training among them."""
    training_flags.define_flags()
    flags.DEFINE_float("seconds", 2.0, "How long each stage runs in each turn.", lower_bound=0)
    flags.DEFINE_integer("turns", 3, "How often each stage is measured.", lower_bound=1)


def main() -> None:
    values = flags.FLAGS
    run = training_flags.read_run()
    if run.dataset.endswith(evaluation_images.NPZ):
        raise UserError("an .npz file needs no pipeline; give the name of a data set")
    image_size, augmentation = run.config.image_size, run.augmentation
    batch_size, seed = run.recipe.batch_size, run.settings.seed
    dataset = open_dataset(
        run.dataset, run.settings.data_dir, train_on_validation=run.settings.train_on_validation
    )
    stages = tfdata_stages(dataset, image_size, batch_size, augmentation, seed)
    if fits_in_memory(dataset, "train", image_size):
        with ProgressBar(f"reading {dataset.name}") as bar:
            arrays = in_memory.load_tfds(dataset, image_size=image_size, on_progress=bar.update)
        device = dataclasses.replace(augmentation, autoaugment=None, random_resized_crop=False)
        feed = DeviceFeed(arrays, image_size, False, batch_size, device, seed)
        stages.append(device_stage(feed))
    load = os.getloadavg()[0]
    with ProgressBar("measuring") as progress:
        rates = measure(stages, values.seconds, values.turns, progress.update)
    title = (
        f"{dataset.name}, {image_size} pixels, batches of {batch_size}, {os.cpu_count()} "
        f"processors, load before {load:.1f}"
    )
    command_line.show(table(stages, rates, title))
    if stages[-1].name == "device feed":
        command_line.show("The device feed crops, flips and cuts out only, and starts from memory.")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
