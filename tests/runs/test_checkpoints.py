import keras
import numpy as np
import pytest

from drnet_tf.errors import UserError
from drnet_tf.runs.checkpoints import Checkpoint, latest_checkpoint, list_checkpoints


def small_model(units=3):
    model = keras.Sequential([keras.layers.Dense(units, name="dense")], name="model")
    model.build((None, 2))
    return model


def test_restores_every_variable_of_model_and_optimizer(tmp_path):
    model = small_model()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    for variable in (*model.variables, *optimizer.variables):
        variable.assign(np.full(variable.shape, 7))
    Checkpoint.of(12, model, optimizer).write(tmp_path)
    for variable in (*model.variables, *optimizer.variables):
        variable.assign(np.zeros(variable.shape))

    checkpoint = Checkpoint.read(latest_checkpoint(tmp_path))
    checkpoint.restore(model, optimizer)
    assert checkpoint.step == 12
    for variable in (*model.variables, *optimizer.variables):
        assert np.all(np.asarray(variable) == 7), variable.path


def test_keeps_the_last_two_and_leaves_no_temporary_file(tmp_path):
    model = small_model()
    for step in (1, 2, 3, 10):
        Checkpoint.of(step, model).write(tmp_path)
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["step-000000003.npz", "step-000000010.npz"]
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == set(names)


@pytest.mark.parametrize("length", [0, 10, 200, -1])
def test_a_truncated_checkpoint_is_named_in_one_line(tmp_path, length):
    path = Checkpoint.of(1, small_model()).write(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match="not a whole checkpoint") as error:
        Checkpoint.read(path)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_model_is_refused_and_changes_nothing(tmp_path):
    path = Checkpoint.of(1, small_model(units=4)).write(tmp_path)
    model = small_model(units=3)
    before = [np.asarray(v).copy() for v in model.variables]
    with pytest.raises(UserError, match="of another model"):
        Checkpoint.read(path).restore(model)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
