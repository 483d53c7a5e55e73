"""What an input costs: it is measured on what is asked for, and mistakes are named."""

import json

import pytest
from helpers.entry_points import run_in_process


def test_stages_and_rates(tmp_path):
    path = tmp_path / "cost.json"
    done = run_in_process(
        "input_cost",
        *("--sources=tar_shards", "--images=16", "--batches=2", "--batch_size=4"),
        *("--image_size=32", "--threads=1", "--processes=", f"--json={path}"),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    stages = found["stages"]["tar_shards"]
    assert stages["images"] == 16
    assert stages["decode"] > stages["stack"] > 0
    (rate,) = found["rates"]
    assert (rate["source"], rate["threads"], rate["processes"]) == ("tar_shards", 1, 0)
    assert rate["images_per_second"] > 0
    assert "tar_shards, by 1 threads: 3000 images/s take" in done.stdout


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("--sources=tar_shard", "did you mean 'tar_shards'?"),
        ("--threads=many", "--threads takes whole numbers, got many"),
    ],
)
def test_mistakes(argument, part):
    done = run_in_process("input_cost", argument)
    assert done.returncode == 2
    assert part in done.stderr


@pytest.mark.long  # test_tar_shards.py and test_order.py hold its parts
def test_a_simulated_start(tmp_path):
    path = tmp_path / "cost.json"
    done = run_in_process(
        *("index_cost", "--examples=6000", "--shards=6", f"--folder={tmp_path}"),
        f"--json={path}",
    )
    found = json.loads(path.read_text())
    assert (found["examples"], found["shards"]) == (6000, 6)
    # One shard more is for validation; the file begins with a numpy header.
    assert 7000 * 16 < found["index_bytes"] < 7000 * 16 + 1024
    assert "6,000 examples in 6 shards" in done.stdout
    assert done.returncode in (0, 1), "1 on a slow machine: it took more than 10 s"
    assert [each.name for each in tmp_path.iterdir()] == ["cost.json"]
    done = run_in_process("index_cost", "--examples=7", "--shards=6")
    assert (done.returncode, "multiple of --shards" in done.stderr) == (2, True)
