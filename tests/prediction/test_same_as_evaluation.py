"""What is predicted is what eval.py computes, bit for bit."""

import csv
import json

import numpy as np
import pytest
from helpers.loadable import CLASSES, save_pictures, save_weights
from helpers.small_models import NAMES, small, some_long
from helpers.training_runs import SMALL, run

import tokenjax
from tokenjax import data, models, provenance
from tokenjax.data.sources.digits import _raw_digits

CONFIG = """
from ml_collections import ConfigDict
from tokenjax.training import default_config

def get_config():
    config = default_config()
    config.model = ConfigDict({model})
    config.data = ConfigDict({data})
    config.batch_size = 8
    return config
"""


@pytest.mark.parametrize("name", some_long(NAMES))
def test_every_classifier(tmp_path, name):
    """On a folder of pictures of all sizes and kinds, by their names alone."""
    module = small(name)
    side = module.example_inputs(1)[0].shape[1]
    folder = tmp_path / "pictures"
    save_pictures(folder)
    source = {
        "source": "image_folder",
        "directory": str(folder),
        "image_size": side,
        "validation_fraction": 0.0,
        "test_fraction": 0.5,
        "crop": 0.875,
        "interpolation": "bilinear",
    }
    info = data.load(source).info
    directory = save_weights(
        tmp_path / "weights",
        name,
        module,
        images=provenance.describe_images(info),
        classes=CLASSES,
    )
    fields = models.values(module)
    config = tmp_path / "config.py"
    config.write_text(CONFIG.format(model={"name": name, **fields}, data=source))
    file = tmp_path / "found.npz"
    flags = ["--config", config, "--checkpoint", directory, "--predictions", file]
    finished = run("eval.py", *flags, "--config.figures=False")
    assert finished.returncode == 0, finished.stderr
    with np.load(file) as arrays:
        evaluated = dict(arrays)
    assert len(evaluated["names"]) == 14
    predictor = tokenjax.load(directory, batch_size=8)
    found = predictor.predict([folder / each for each in evaluated["names"]])
    assert np.ptp(evaluated["logits"]) > 1e-4
    np.testing.assert_array_equal(found.logits, evaluated["logits"])
    np.testing.assert_array_equal(found.probabilities, evaluated["probabilities"])
    assert found.classes == CLASSES == tuple(evaluated["classes"])
    folders = [each.partition("/")[0] for each in evaluated["names"]]
    assert folders == [CLASSES[label] for label in evaluated["label"]]


@pytest.mark.parametrize("ending", ["csv", "json", "npz"])
def test_a_run_from_its_directory_alone(tmp_path, workdir, ending):
    """In batches of the run's own size, which is the default."""
    file = tmp_path / f"found.{ending}"
    flags = ["--config", "configs/vit.py", "--workdir", workdir, *SMALL]
    finished = run("eval.py", *flags, "--predictions", file)
    assert finished.returncode == 0, finished.stderr
    split = data.load({"source": "digits", "image_size": 16}).test
    everything = split.gather(np.arange(len(split)))
    found = tokenjax.load(workdir).predict(everything["image"])
    if ending == "npz":
        with np.load(file) as arrays:
            np.testing.assert_array_equal(found.logits, arrays["logits"])
            np.testing.assert_array_equal(everything["label"], arrays["label"])
            loss = arrays["loss"]
        own = found.probabilities[np.arange(len(split)), everything["label"]]
        np.testing.assert_allclose(loss, -np.log(own), rtol=1e-4)
    else:
        rows = read_rows(file)
        assert [row["class"] for row in rows] == found.best
        assert [int(row["label"]) for row in rows] == everything["label"].tolist()


def test_files_that_no_evaluation_writes(tmp_path, workdir):
    flags = ["--config", "configs/vit.py", "--workdir", workdir, *SMALL]
    before = (workdir / "evaluation.json").read_bytes()
    for more, part in (
        (["--predictions", tmp_path / "x.txt"], "must end in .csv or .json or .npz"),
        (["--predictions", tmp_path / "gone" / "x.csv"], "directory does not exist"),
        (["--predictions", tmp_path / "x.csv", "--eval_all"], "not with --eval_all"),
    ):
        finished = run("eval.py", *flags, *more)
        assert finished.returncode == 2
        assert part in finished.stderr
    assert (workdir / "evaluation.json").read_bytes() == before
    assert not list(tmp_path.iterdir())


def read_rows(file):
    if file.suffix == ".json":
        return json.loads(file.read_text())["images"]
    with open(file, newline="") as opened:
        return list(csv.DictReader(opened))


def test_digits_from_their_own_small_pictures(workdir):
    """8x8 grey pictures become what the data set made of them."""
    small_ones, _ = _raw_digits()
    predictor = tokenjax.load(workdir)
    whole = data.load({"source": "digits", "image_size": 16})
    first = whole.test.gather(np.arange(40))["image"]
    everything = predictor.preprocess(small_ones)
    matches = (everything[:, None] == first[None]).all((2, 3, 4)).any(0)
    assert matches.all()


def test_the_accuracy_that_the_run_itself_wrote(workdir):
    evaluation = json.loads((workdir / "evaluation.json").read_text())
    split = data.load({"source": "digits", "image_size": 16}).test
    everything = split.gather(np.arange(len(split)))
    found = tokenjax.load(workdir).predict(everything["image"])
    right = np.mean(found.order[:, 0] == everything["label"])
    assert right == pytest.approx(evaluation["top1"])
