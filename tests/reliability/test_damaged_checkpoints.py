"""Randomly damaged runs: the right state comes back, or one sentence."""

import shutil

import pytest

from tokenjax.reliability import damaged_checkpoints

# 68, 261 and 392 once escaped: a directory where checksums are expected, one in place
# of metrics.jsonl, and a number where Orbax's metadata has an object.
SEEDS = [68, 261, 392, 0, 1, 2]
SEEDS += [pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 12)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_run(tmp_path, seed):
    outcome = damaged_checkpoints.run(seed, tmp_path)
    assert outcome.startswith(("handled: ", "refused: ")), outcome


def test_a_wrong_state_is_noticed(tmp_path, monkeypatch):
    """The fuzz itself: with the checksums unread, Orbax restores some flipped bits."""

    def flip(seed, workdir):
        files = (workdir / "checkpoints" / "8" / "state").rglob("d/*")
        largest = max(files, key=lambda path: path.stat().st_size)
        content = bytearray(largest.read_bytes())
        content[len(content) * seed // 20] ^= 1
        largest.write_bytes(content)
        return "flipped"

    def outcome(seed):
        try:
            return damaged_checkpoints.run(seed, tmp_path)
        except AssertionError as error:
            return str(error)
        finally:
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(damaged_checkpoints, "damage_at_random", flip)
    assert "went on from 6" in outcome(10)
    monkeypatch.setattr("tokenjax.storage.verify_directory", lambda *_: None)
    outcomes = [outcome(seed) for seed in range(1, 20)]
    assert "last is not the state of step 8" in outcomes
