"""Times by kind of operation, on handmade events."""

from benchmarks.op_profile import Event, own_times


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
