"""A slow and a standing input pipeline are named, once, with what would help."""

import time

from tokenjax.training.observation import input_watch
from tokenjax.training.observation.input_watch import InputWatch, advice


def until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_a_standing_pipeline_is_named_while_it_is_waited_for():
    said = []
    watch = InputWatch("digits", 0.2, 0.05, said.append)
    try:
        watch.waiting(7)
        until(lambda: said)
        time.sleep(0.2)
        assert len(said) == 1, "once for a wait"
        assert "no batch for step 7 in 0.05 s" in said[0]
        assert "'digits'" in said[0]
        watch.delivered()
        time.sleep(0.1)
        assert len(said) == 1
        watch.waiting(8)
        until(lambda: len(said) == 2)
    finally:
        watch.close()
    assert not watch._thread.is_alive()


def test_a_slow_pipeline_is_named_once():
    said = []
    watch = InputWatch("image_folder", 0.2, 0.0, said.append)
    watch.judge(10, 0.9, 1.0)  # too short to tell
    assert not said
    watch.judge(20, 4.0, input_watch.WINDOW_SECONDS - 1.0)
    assert len(said) == 1
    assert "step 20: the devices spend 49% of the time waiting for batches" in said[0]
    assert "data.num_threads" in said[0]
    watch.judge(30, 9.0, 20.0)
    assert len(said) == 1
    watch.close()


def test_a_quick_pipeline_is_not_named():
    said = []
    watch = InputWatch("digits", 0.2, 0.0, said.append)
    watch.judge(10, 1.9, 10.0)
    watch.judge(20, 3.0, 20.0)
    watch.close()
    assert not said


def test_advice_names_only_settings_that_the_source_has():
    assert "data.num_threads" in advice("rgbnt201")
    assert "data.cache_bytes" in advice("rgbnt201")
    assert "data." not in advice("digits")
    assert "CPU cores" in advice("digits")
