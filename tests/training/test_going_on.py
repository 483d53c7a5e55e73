"""A run of another length: what is refused, and what is said."""

import dataclasses

import pytest

from tokenjax.errors import UserError
from tokenjax.training import going_on
from tokenjax.training.schedule import make_schedule
from tokenjax.training.settings import Distillation, Schedule, Settings

EXAMPLES = 640  # ten steps an epoch


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(epochs=2.0), "epochs=2 is 20 steps, but 25 are done; .* least 2.5,"),
        (Settings(steps=24), "steps=24 is 24 steps, but 25 are done; .* least 25,"),
    ],
)
def test_a_run_does_not_end_before_where_it_stands(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        going_on.check_length(settings, 25, EXAMPLES)


@pytest.mark.parametrize("settings", [Settings(epochs=2.5), Settings(steps=25)])
def test_it_may_end_there(settings):
    going_on.check_length(settings, 25, EXAMPLES)


def test_the_rate_before_and_after():
    schedule = Schedule(minimum_learning_rate=1e-4)
    before = Settings(epochs=10.0, schedule=schedule)
    after = dataclasses.replace(before, epochs=20.0)
    schedules = [make_schedule(each, EXAMPLES) for each in (before, after)]
    sentence = going_on.describe_length(100, (100, 200), schedules)
    # Half a cosine from 1e-3 to 1e-4 is at its end, and at its middle.
    assert "is 200 steps long, was 100" in sentence
    assert "at step 100 is 0.00055, was 0.0001" in sentence


def test_the_earlier_length():
    settings = Settings(steps=7)
    earlier = dataclasses.asdict(Settings(epochs=3.0))
    assert going_on.had_length(settings, earlier) == Settings(epochs=3.0)
    assert going_on.had_length(settings, {}) == settings


def test_what_is_not_read_again_is_named():
    earlier = dataclasses.asdict(Settings())
    distillation = Distillation(teacher="x")
    now = dataclasses.asdict(Settings(init_from="y", distillation=distillation))
    said = going_on.describe_unread(earlier, now)
    assert [sentence.partition(" ")[0] for sentence in said] == [
        "distillation.teacher",
        "init_from",
    ]
    assert going_on.describe_unread(now, now) == []
