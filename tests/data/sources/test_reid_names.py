"""Names of files: numbers of any length, and identities that are nobody's."""

import numpy as np
import pytest
from helpers.reid_sets import everything, load, msvr310, rgbnt100, rgbnt201, save
from helpers.reid_tasks import make as make_task

from tokenjax import plots
from tokenjax.training.tasks import reid_figures

__all__ = ["msvr310", "rgbnt100", "rgbnt201"]  # fixtures
STRIP = (768, 128)


def save_all(root, part, name):
    for folder in ("RGB", "NI", "TI"):
        save(root / part / folder / name, (1, 2, 3))


def about(split):
    batch = everything(split)
    keys = ("label", "camera", "query", "gallery")
    return list(zip(*(batch[key].tolist() for key in keys), strict=True))


@pytest.mark.parametrize(
    ("name", "identity", "camera"),
    [
        ("000300_cam12_0_01.png", 300, 11),
        ("000300_cam5_0_01.png", 300, 4),
        ("1234567_cam10_0_01.png", 1234567, 9),
        ("42_cam003_0_01.png", 42, 2),
        ("000300x_cam7.png", 300, 6),
    ],
)
def test_rgbnt201_reads_whole_numbers(rgbnt201, name, identity, camera):
    save_all(rgbnt201, "test", name)
    dataset = load("rgbnt201", rgbnt201)
    assert (identity, camera, True, True) in about(dataset.test)
    assert dataset.info.num_cameras == max(4, camera + 1)
    assert dataset.info.remarks == ()


@pytest.mark.parametrize(
    ("name", "identity", "camera"),
    [
        ("12345_c10s1_001051_00.jpg", 12345, 9),
        ("0601_c1_00.jpg", 601, 0),
        ("7_c0016s3_00.jpg", 7, 15),
    ],
)
def test_rgbnt100_reads_whole_numbers(rgbnt100, name, identity, camera):
    save(rgbnt100 / "bounding_box_test" / name, (0, 0, 0), STRIP)
    dataset = load("rgbnt100", rgbnt100)
    assert (identity, camera, False, True) in about(dataset.test)
    assert dataset.info.num_cameras == max(8, camera + 1)


def test_msvr310_reads_whole_numbers(msvr310):
    for folder in ("vis", "ni", "th"):
        name = "10008_s1402_v12_00.png"
        save(msvr310 / "bounding_box_train" / "10008" / folder / name, (0, 0, 0))
    dataset = load("msvr310", msvr310)
    train = everything(dataset.train)
    assert dataset.info.class_names == ("2", "31", "10008")
    rows = zip(train["scene"].tolist(), train["camera"].tolist(), strict=True)
    assert (1402, 12) in rows
    assert dataset.info.num_cameras == 13


def test_junk_and_distractors_of_a_set_with_three_parts(rgbnt100):
    plain = load("rgbnt100", rgbnt100)
    counts = {
        "bounding_box_train": (1, 2),
        "query": (3, 1),
        "bounding_box_test": (2, 3),
    }
    for part, (junk, distractors) in counts.items():
        for number in range(junk):
            save(rgbnt100 / part / f"-1_c2_{number}.jpg", (0, 0, 0), STRIP)
        for number in range(distractors):
            save(rgbnt100 / part / f"0000_c3_{number}.jpg", (0, 0, 0), STRIP)
    dataset = load("rgbnt100", rgbnt100)
    assert dataset.info.class_names == plain.info.class_names
    assert everything(dataset.train)["label"].tolist() == [0, 0, 1]
    added = (0, 2, False, True)
    assert sorted(about(dataset.test)) == sorted(about(plain.test) + 3 * [added])
    assert dataset.info.remarks == (
        "rgbnt100, bounding_box_train: junk (identity -1), 1 images, is left out",
        "rgbnt100, bounding_box_train: distractors (identity 0), 2 images, are left "
        "out",
        "rgbnt100, query: junk (identity -1), 3 images, is left out",
        "rgbnt100, query: distractors (identity 0), 1 images, are left out",
        "rgbnt100, bounding_box_test: junk (identity -1), 2 images, is left out",
        "rgbnt100, bounding_box_test: distractors (identity 0), 3 images, are in the "
        "gallery alone",
    )


def test_a_distractor_is_no_query_where_all_others_are(rgbnt201):
    save_all(rgbnt201, "test", "-1_cam2_0_01.png")
    save_all(rgbnt201, "test", "000000_cam2_0_01.png")
    save_all(rgbnt201, "train_171", "0000_cam2_0_01.png")
    dataset = load("rgbnt201", rgbnt201)
    assert about(dataset.test) == [
        (0, 1, False, True),
        (12, 3, True, True),
        (300, 0, True, True),
        (300, 1, True, True),
    ]
    assert dataset.info.class_names == ("7", "99", "258")
    assert len(dataset.train) == 5


def test_nobody_in_a_set_with_folders_of_identities(msvr310):
    for identity in (-1, 0):
        for folder in ("vis", "ni", "th"):
            name = f"{identity:04}_s001_v1_00.png".replace("-001", "-1")
            place = msvr310 / "bounding_box_test" / f"{identity}" / folder
            save(place / name, (0, 0, 0))
    dataset = load("msvr310", msvr310)
    assert everything(dataset.test)["label"].tolist() == [8, 0, 8, 8]
    assert len(dataset.info.remarks) == 2


def test_what_is_left_out_is_said_and_scored_by_the_rule(rgbnt201, capsys):
    save_all(rgbnt201, "test", "-1_cam2_0_01.png")
    save_all(rgbnt201, "test", "000000_cam4_0_01.png")
    dataset = load("rgbnt201", rgbnt201, height=32, width=16)
    task = make_task(dataset, reid={"instances": 4})
    said = capsys.readouterr().out
    assert "junk (identity -1), 1 images, is left out" in said
    assert "distractors (identity 0), 1 images, are in the gallery alone" in said
    # The distractor first, then 12, 300 and 300: it is nearer than what is right.
    features = np.array([[1.0, 0.1], [0.0, 1.0], [1.0, 0.0], [1.0, 0.3]])
    batch = everything(dataset.test)
    outputs = {key: batch[key] for key in ("label", "camera", "query", "gallery")}
    outputs |= dict.fromkeys(("direct", "fused", "concat"), features)
    summary = {"split": "test", **task.summarize(outputs)}
    assert (summary["queries"], summary["valid_queries"]) == (3, 2)
    assert summary["mAP"] == pytest.approx(1 / 2)
    assert summary["rank1"] == 0
    assert summary["chance"]["rank1"] == pytest.approx(1 / 3)
    assert "1 of 3 queries have no match" in "\n".join(task.headline(summary))


def test_figures_show_queries_that_count_and_somebody(rgbnt201, tmp_path, monkeypatch):
    """Not query 12, which has no match, nor the distractors, who are many persons."""
    for number in range(3):
        save_all(rgbnt201, "test", f"000000_cam{number + 1}_0_01.png")
    for camera in (3, 4):
        save_all(rgbnt201, "test", f"000300_cam{camera}_0_01.png")
    split = load("rgbnt201", rgbnt201).test
    outputs = everything(split)
    outputs["fused"] = np.random.default_rng(0).standard_normal((len(split), 4))
    drawn = {}
    for name in ("rank_lists", "feature_map", "cmc_curve"):
        monkeypatch.setattr(
            plots, name, lambda *given, of=name: drawn.update({of: given}), False
        )
    names = ("fused", "camera", ("rgb",))
    reid_figures.draw_rank_lists(tmp_path, outputs, split, *names)
    images, _, _, valid, _ = drawn["rank_lists"]
    of_300 = np.flatnonzero(outputs["label"] == 300)
    np.testing.assert_array_equal(images, split.gather(of_300)["rgb"])
    assert valid.any()
    summary = {"features": {"fused": {"cmc": [1.0]}}, "chance": {"cmc": [0.5]}}
    reid_figures.draw_retrieval(tmp_path, summary, outputs, "fused")
    _, labels, cameras, _ = drawn["feature_map"]
    assert labels.tolist() == [12, 300, 300, 300, 300]
    assert cameras.tolist() == [3, 0, 1, 2, 3]
