"""Times by kind of operation, on handmade events."""

import tensorflow as tf

from benchmarks.op_profile import Event, own_times, read_events, record


def test_an_operation_around_others_keeps_its_own_time_only():
    events = [
        Event("While", line=1, begin=0, length=100),
        Event("Mul", line=1, begin=10, length=30),
        Event("If", line=1, begin=50, length=40),
        Event("Mul", line=1, begin=60, length=5),
        Event("Mul", line=1, begin=100, length=7),
    ]
    assert own_times(events) == {"While": (30, 1), "Mul": (42, 3), "If": (35, 1)}


def test_operations_of_other_threads_are_not_inside():
    events = [Event("If", line=1, begin=0, length=100), Event("Mul", line=2, begin=10, length=20)]
    assert own_times(events) == {"If": (100, 1), "Mul": (20, 1)}


def test_the_profiler_gives_every_run_of_an_operation():
    @tf.function
    def twice(x):
        return tf.nn.relu(tf.matmul(tf.matmul(x, x), x))

    x = tf.ones((200, 200))
    twice(x)
    times = own_times(read_events(record(lambda: [twice(x) for _ in range(3)])))
    calls = {kind: runs for kind, (_, runs) in times.items()}
    assert sum(runs for kind, runs in calls.items() if "MatMul" in kind) == 6
    assert sum(runs for kind, runs in calls.items() if "Relu" in kind or "Fused" in kind) >= 3
    assert all(picoseconds > 0 for picoseconds, _ in times.values())
