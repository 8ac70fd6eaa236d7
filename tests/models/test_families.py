"""Every family is complete: a new one has to be listed in family_cases.py, and no more."""

import importlib.util
import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from drnet_tf.errors import UserError
from drnet_tf.models.family import SAVING, WORK
from drnet_tf.models.registry import FAMILIES, family_of, model_config
from drnet_tf.runs.checkpoints import Checkpoint
from drnet_tf.runs.workdir import Run, load_trained
from tests.layers.random_weights import randomize
from tests.models import family_cases
from tests.source_tree import ROOT

FIGURES = [
    (family.name, f"{variant}.{task}", published)
    for family in FAMILIES.values()
    for variant, described in family.variants.items()
    for task, rows in described.published.items()
    for published in rows
]

#: Compiling takes longer than running.
XLA_FLAGS = "--xla_backend_optimization_level=0"
every_family = pytest.mark.parametrize("name", family_cases.CASES)
needs_jax = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
slow = pytest.mark.slow  # compiles training steps


@pytest.fixture(scope="module")
def models():
    """Gives the model of each case, with weights that differ everywhere."""
    return {name: randomize(family_cases.build(name)) for name in family_cases.CASES}


@pytest.fixture(scope="module")
def on_jax(models, tmp_path_factory):
    """Gives what the program on JAX says of all families."""
    folder = tmp_path_factory.mktemp("jax")
    weights = {
        f"{name}/{path}": value
        for name, model in models.items()
        for path, value in family_cases.weights_of(model).items()
    }
    np.savez(folder / "weights.npz", **weights)
    files = [str(folder / name) for name in ("weights.npz", "result.npz")]
    result = subprocess.run(
        [sys.executable, "-m", "tests.models.families_on_jax", *files],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": "jax", "XLA_FLAGS": XLA_FLAGS},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    with np.load(files[1]) as file:
        return dict(file)


def test_every_registered_family_is_listed():
    assert set(family_cases.CASES) == set(FAMILIES)


@pytest.mark.parametrize(("name", "model", "published"), FIGURES, ids=lambda v: str(v)[:40])
def test_counts_are_the_published_ones(name, model, published):
    config = model_config(model, **published.overrides)
    total = FAMILIES[name].cost(config).total
    tolerance = family_cases.COUNT_TOLERANCES.get(name, family_cases.COUNT_TOLERANCE)
    for counted, figure in ((total.params, published.params), (total.macs, published.macs)):
        if figure is not None:
            assert counted / 1e6 == pytest.approx(figure, rel=tolerance)
    assert published.source


@every_family
def test_configuration_survives_json(name):
    config = family_cases.config_of(name)
    assert family_of(config) is FAMILIES[name]
    assert type(config).from_dict(json.loads(json.dumps(config.to_dict()))) == config


@every_family
def test_routing_is_that_of_the_units(name, models):
    model = models[name]
    images, _ = family_cases.batch_of(model.config)
    units = FAMILIES[name].cost(model.config).units
    assert model.cost.units == units
    for value in family_cases.knob_values(name):
        logits, routing = model(images, threshold=value)
        described = {
            part: (tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
            for part, tensor in (("logits", logits), *routing._asdict().items())
            if part != "own"
        }
        count = len(images)
        assert described == {
            "logits": ((count, model.config.classes), "float32"),
            "selected": ((count, *units), "bool"),
            "scores": ((count, *units), "float32"),
            "macs": ((count,), "float32"),
        }
        macs = model.cost.of_selection(np.asarray(routing.selected))[1]
        np.testing.assert_allclose(routing.macs, macs, rtol=1e-6)


@every_family
def test_knob_at_everything_runs_all_units(name, models):
    model, knob = models[name], FAMILIES[name].knob
    images, _ = family_cases.batch_of(model.config)
    logits, routing = model(images)
    assert np.asarray(routing.selected).all()
    if knob is not None:
        turned, all_routing = model(images, threshold=knob.everything)
        assert np.asarray(all_routing.selected).all()
        np.testing.assert_allclose(turned, logits, rtol=1e-3, atol=1e-4)
        assert knob.more_is in (WORK, SAVING)
        for value in (knob.default, knob.everything, *knob.shown):
            assert knob.check(value) == value


@every_family
def test_saved_model_gives_equal_outputs(name, models, tmp_path):
    model = models[name]
    images, _ = family_cases.batch_of(model.config)
    value = family_cases.knob_values(name)[0]
    expected, routing = model(images, threshold=value)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    actual, again_routing = again(images, threshold=value)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(again_routing.selected, routing.selected)


@every_family
def test_weights_have_names_of_their_own(name, models):
    paths = [variable.path for variable in models[name].variables]
    assert len(set(paths)) == len(paths)


@every_family
@pytest.mark.parametrize("recipe_name", ["paper", "fast"])
def test_recipe_scales_to_any_length_and_sets_the_controls(name, recipe_name, models):
    family = FAMILIES[name]
    recipe = family.recipes[recipe_name].of_epochs(3)
    assert isinstance(recipe, family.recipe)
    assert recipe.epochs == pytest.approx(3)
    for step in (0, 15, 29):
        values = family.step_values(recipe, step, 10)
        assert 0 < values.learning_rate < 1
        assert all(math.isfinite(scalar) for scalar in values.scalars.values())
        assert set(models[name].controls) <= set(values.scalars)
    with pytest.raises(UserError, match="epochs must be more than 0"):
        recipe.of_epochs(0)


@slow
@every_family
def test_training_lowers_the_loss_on_tensorflow(name):
    from drnet_tf.training.on_tensorflow.step import TrainingStep

    _assert_lowered(family_cases.losses(TrainingStep, family_cases.build(name)))


@slow
@needs_jax
@every_family
def test_training_lowers_the_loss_on_jax(name, on_jax):
    _assert_lowered(on_jax[f"{name}/losses"])


@slow
@needs_jax
@every_family
def test_both_backends_give_equal_outputs(name, models, on_jax):
    model = models[name]
    images, _ = family_cases.batch_of(model.config)
    for index, value in enumerate(family_cases.knob_values(name)):
        logits, routing = model(images, threshold=value)
        np.testing.assert_array_equal(routing.selected, on_jax[f"{name}/selected/{index}"])
        expected = on_jax[f"{name}/logits/{index}"]
        scale = np.abs(expected).max()
        assert scale > 0.1
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * scale)


@slow
@every_family
def test_keras_saved_model_and_tflite_agree(name, models, tmp_path):
    from export.convert.conversion import convert
    from export.verify.verification import verify

    model, workdir = models[name], str(tmp_path / "run")
    Run(family_cases.CASES[name][0], model.config, "digits").save(workdir)
    Checkpoint.of(1, model).write(workdir)
    trained = load_trained(workdir)
    class_names = [f"class {index}" for index in range(model.config.classes)]
    convert(trained, class_names, tmp_path / "export")
    images, _ = family_cases.batch_of(model.config, 4)
    report = verify(trained, tmp_path / "export", images, family_cases.knob_values(name))
    assert report.ok, report.differences


def _assert_lowered(losses):
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.95 * losses[0]
