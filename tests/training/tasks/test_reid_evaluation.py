"""What the evaluation of re-identification looks at, and what it leaves out."""

import copy
import dataclasses
import json

import jax
import numpy as np
import pytest
from helpers.reid_tasks import make, rows

from tokenjax import evaluation
from tokenjax.errors import UserError
from tokenjax.training import evaluate
from tokenjax.training.distribution import devices
from tokenjax.training.tasks import reid_figures

CONDITIONS = {
    "missing_rgb": [0],
    "missing_nir": [1],
    "missing_tir": [2],
    "missing_rgb_nir": [0, 1],
    "missing_rgb_tir": [0, 2],
    "missing_nir_tir": [1, 2],
}


@pytest.fixture(scope="module")
def evaluated(task):
    """(variables, split) -> outputs, as during training and at its end."""
    mesh = devices.make_mesh(task.settings)
    predict = task.compile_predict(mesh)
    return lambda variables, split: evaluate.run_split(
        predict, variables, split, 8, mesh
    )


@pytest.fixture(scope="module")
def outputs(evaluated, variables, dataset):
    return evaluated(variables, dataset.test)


def drawn_anew(variables, part):
    """Other parameters in one part, large ones."""
    leaves, structure = jax.tree.flatten(variables["params"][part])
    keys = jax.random.split(jax.random.key(9), len(leaves))
    drawn = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    params = {**variables["params"], part: jax.tree.unflatten(structure, drawn)}
    return {**variables, "params": params}


def test_every_evaluation_uses_sdtps(task, outputs, evaluated, variables, dataset):
    """The original's `test_sign` left SDTPS out of all evaluations it logged."""
    others = evaluated(drawn_anew(variables, "sdtps"), dataset.test)
    np.testing.assert_array_equal(others["direct"], outputs["direct"])
    assert (np.abs(others["fused"] - outputs["fused"]).max(1) > 1e-3).all()
    logged, final = [], []
    for found in (outputs, others):
        both = np.concatenate([found["direct"], found["fused"]], axis=1)
        np.testing.assert_array_equal(found["concat"], both)
        logged.append(task.scalars(found))  # validation during training
        final.append(task.summarize(found))
        for name, summary in final[-1]["features"].items():
            assert logged[-1][f"mAP_{name}"] == summary["mAP"]
            assert logged[-1][f"rank1_{name}"] == summary["rank1"]
        assert final[-1]["mAP"] == logged[-1]["mAP"] == logged[-1]["mAP_concat"]
    assert logged[0]["mAP_direct"] == logged[1]["mAP_direct"]
    assert logged[0]["mAP_fused"] != logged[1]["mAP_fused"]
    assert logged[0]["mAP"] != logged[1]["mAP"]


@pytest.mark.parametrize("feature", ["direct", "fused", "concat"])
def test_the_metrics_are_those_of_the_feature_chosen(dataset, outputs, feature):
    chosen = make(dataset, {"feature": feature})
    labels, cameras, vectors = (outputs[key] for key in ("label", "camera", feature))
    expected = evaluation.evaluate_retrieval(
        vectors, vectors, labels, labels, cameras, cameras
    ).summary()
    summary, scalars = chosen.summarize(outputs), chosen.scalars(outputs)
    assert summary["feature"] == feature
    assert {key: summary[key] for key in expected} == expected
    assert (scalars["mAP"], scalars["rank1"]) == (expected["mAP"], expected["rank1"])


def test_summary_can_be_written_and_holds_chance_and_reranking(dataset, outputs):
    plain = make(dataset).summarize(outputs)
    summary = make(dataset, {"rerank": True}).summarize(outputs)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    reranked = summary.pop("reranked")
    assert summary == plain
    assert set(reranked) == set(plain["features"]["concat"])
    assert reranked["mAP"] != plain["mAP"]
    # Each of 24 has 4 of its identity by other cameras among 22 that are not left out.
    assert plain["chance"]["rank1"] == pytest.approx(4 / 22)
    assert plain["examples"] == plain["gallery"] == plain["queries"] == 24


def test_a_file_of_what_was_found(task, dataset, outputs, tmp_path):
    assert task.prediction_formats == (".npz",)
    task.write_predictions(tmp_path / "x.npz", outputs, dataset.test)
    with np.load(tmp_path / "x.npz") as arrays:
        assert set(arrays) == {"names", *outputs}
        np.testing.assert_array_equal(arrays["fused"], outputs["fused"])
        assert arrays["names"].tolist() == list(dataset.test.example_names())


def test_queries_and_gallery_play_their_own_parts(task, outputs):
    """As in RGBNT100 and MSVR310, where no sample is both."""
    query = outputs["camera"] == 0
    summary = task.summarize({**outputs, "query": query, "gallery": ~query})
    assert (summary["queries"], summary["gallery"]) == (8, 16)
    assert summary["chance"]["rank1"] == pytest.approx(4 / 16)


def test_scenes_are_left_out_where_the_set_says_so(task, outputs):
    by_scene = copy.copy(task)
    by_scene.info = dataclasses.replace(task.info, same="scene")
    swapped = {"scene": outputs["camera"], "camera": outputs["scene"]}
    assert by_scene.summarize({**outputs, **swapped}) == task.summarize(outputs)
    with pytest.raises(UserError, match="own camera or scene are left out"):
        by_scene.summarize(outputs)  # all of one scene


def test_the_training_split_is_retrieved_from_itself(
    task, evaluated, variables, dataset, tmp_path, monkeypatch
):
    monkeypatch.setattr(reid_figures, "QUERIES", 2)
    monkeypatch.setattr(reid_figures, "LISTED", 3)
    found = evaluated(variables, dataset.train)
    assert "query" not in found
    summary = task.summarize(found)
    assert summary["queries"] == summary["gallery"] == len(dataset.train)
    looks = task.inspect(variables, [], dataset.train)
    task.figures(tmp_path, summary, looks, found, dataset.train)
    assert {"cmc.png", "kept_tokens.png"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.long  # two programs more, and figures
def test_retrieval_with_fewer_tokens(
    variables, outputs, dataset, tmp_path, monkeypatch
):
    """The same weights: other features, and what is chosen told by the patches."""
    monkeypatch.setattr(reid_figures, "QUERIES", 2)
    monkeypatch.setattr(reid_figures, "LISTED", 3)
    reduced = make(dataset, model={"reduction": "tome:r=3"})
    mesh = devices.make_mesh(reduced.settings)
    predict = reduced.compile_predict(mesh)
    found = evaluate.run_split(predict, variables, dataset.test, 8, mesh)
    assert np.isfinite(found["concat"]).all()
    assert np.abs(found["concat"] - outputs["concat"]).max() > 1e-3
    summary = reduced.summarize(found)
    looks = reduced.inspect(variables, [], dataset.test)
    count = len(looks["images"]["rgb"])
    assert looks["mask"]["rgb"].shape == (count, 8)  # 4 x 2 patches, 5 tokens
    assert looks["regions"]["nir"].shape == (1, count, 8)
    reduced.figures(tmp_path, summary, looks, found, dataset.test)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert {"kept_tokens.png", "token_regions_rgb.png", "cmc.png"} <= drawn


@pytest.mark.long  # the runs report every condition
def test_each_condition_is_the_evaluation_without_those_images(
    task, variables, dataset, outputs
):
    conditions = task.other_conditions()
    assert set(conditions) == set(CONDITIONS)
    batch = rows(dataset.test, range(8))
    predict = jax.jit(task.predict)
    for name, other in conditions.items():
        assert other.other_conditions() == {}
        absent = batch["present"].at[:, CONDITIONS[name]].set(False)
        expected = predict(variables, {**batch, "present": absent})
        found = jax.jit(other.predict)(variables, batch)
        for feature in ("direct", "fused", "concat"):
            np.testing.assert_allclose(found[feature], expected[feature], atol=1e-6)
            assert np.abs(found[feature] - outputs[feature][:8]).max() > 1e-3


def test_conditions_can_be_left_out(dataset):
    assert make(dataset, {"missing_modalities": False}).other_conditions() == {}


def test_a_model_without_sdtps_has_no_tokens_to_show(dataset):
    control = make(dataset, model={"fusion": "hdm_atm", "feat_dim": 64})
    assert control.inspect(None, [], dataset.test) == {}
