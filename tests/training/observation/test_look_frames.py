"""The frames of a run: which steps have one, and what becomes of them."""

import numpy as np
import pytest
from PIL import Image

from tokenjax.errors import UserError
from tokenjax.plots import Row
from tokenjax.training.observation import look_frames
from tokenjax.training.observation.look_frames import LookFrames
from tokenjax.training.observation.metric_log import MetricLog
from tokenjax.training.settings import Settings
from tokenjax.training.tasks.task import Shown, Watch

EVERY = 5


class Log(MetricLog):
    """A log that keeps what TensorBoard would get."""

    def __init__(self, workdir, start_step):
        super().__init__(workdir, start_step)
        self.images = []

    def write_images(self, step, images):
        self.images.append((step, {key: each.shape for key, each in images.items()}))


def watch():
    def draw(looks):
        shade = np.full((2, 8, 8, 3), looks["shade"], np.uint8)
        return Shown([Row("shade", shade)], ["one", "two"])

    return Watch(lambda variables: {"shade": variables["shade"]}, draw)


def run(workdir, first, last, total=20, of=watch, every=EVERY):
    log = Log(workdir, first)
    frames = LookFrames(of() if of else None, log, first, total, every)
    frames.start(first, {"shade": first})
    for step in range(first + 1, last + 1):
        if step % every == 0 or step == total:
            frames.draw(step, {"shade": step})
    log.close()
    return log


def shades(workdir):
    found = {}
    for step, path in look_frames.find_frames(workdir).items():
        with Image.open(path) as image:
            found[step] = int(np.asarray(image)[-10, -10, 0])
    return found


def test_every_evaluation_has_one_and_so_has_the_start(tmp_path):
    log = run(tmp_path, 0, 18, total=18)
    assert shades(tmp_path) == {step: step for step in (0, 5, 10, 15, 18)}
    assert [step for step, _ in log.images] == [0, 5, 10, 15, 18]
    ((_, first), *_) = log.images
    assert set(first) == {"looks"}
    assert first["looks"][0] == 1


def test_a_resumed_run_goes_on_and_replaces_what_it_draws_again(tmp_path):
    run(tmp_path, 0, 15)
    other = tmp_path / look_frames.FOLDER / "step_mine.png"
    other.touch()
    log = run(tmp_path, 5, 7)  # it fell back to the checkpoint of step 5
    assert shades(tmp_path) == {0: 0, 5: 5}
    assert not log.images
    run(tmp_path, 7, 20)
    assert list(shades(tmp_path)) == [0, 5, 10, 15, 20]
    assert other.exists()


def test_a_long_run_has_few(tmp_path, monkeypatch):
    monkeypatch.setattr(look_frames, "MOST_FRAMES", 3)
    run(
        tmp_path, 0, 22, total=22, every=2
    )  # eleven evaluations: every fourth, the last
    assert list(shades(tmp_path)) == [0, 8, 16, 22]


def test_nothing_is_drawn_where_nothing_is_asked_for(tmp_path):
    log = run(tmp_path, 0, 20, of=None)
    look_frames.animate_run(tmp_path)
    assert not log.images
    assert not (tmp_path / look_frames.FOLDER).exists()


def test_every_process_looks_and_the_first_one_draws(tmp_path, monkeypatch):
    looked = []

    def counted():
        look, draw = watch()
        return Watch(lambda variables: looked.append(0) or look(variables), draw)

    run(tmp_path, 0, 5)
    monkeypatch.setattr(look_frames.jax, "process_index", lambda: 1)
    run(tmp_path, 0, 20, of=counted)
    assert len(looked) == 5
    assert list(shades(tmp_path)) == [0, 5], "another process's files are its own"


def test_a_disk_that_refuses_ends_the_pictures_alone(tmp_path, capsys):
    (tmp_path / look_frames.FOLDER).write_text("in the way")
    log = run(tmp_path, 0, 20)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("warning: no frames from step 0 on")
    assert len(log.images) == 5, "TensorBoard has them"


def test_a_run_ends_with_all_of_them_in_one(tmp_path, capsys):
    run(tmp_path, 0, 20)
    look_frames.animate_run(tmp_path)
    path = tmp_path / look_frames.FOLDER / look_frames.ANIMATION
    with Image.open(path) as film:
        assert film.n_frames == 5
    whole = path.read_bytes()
    look_frames.animate_run(tmp_path)
    assert path.read_bytes() == whole
    next(iter(look_frames.find_frames(tmp_path).values())).write_bytes(b"half")
    look_frames.animate_run(tmp_path)
    assert "warning: no looks.gif in " in capsys.readouterr().err
    assert path.read_bytes() == whole


@pytest.mark.parametrize("number", [-1, 65, 1.5])
def test_how_many_images_there_can_be(number):
    with pytest.raises(UserError, match=r"observation\.looks must be"):
        Settings.from_config({"observation": {"looks": number}})
