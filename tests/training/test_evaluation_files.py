"""What the files of an evaluation are called."""

from tokenjax.training.evaluate import report_suffix


def test_names_say_what_was_evaluated():
    assert report_suffix("test") == ""
    assert report_suffix("validation") == "-validation"
    assert report_suffix("test", "reduction=tome:r=8") == "-reduction_tome_r_8"


def test_long_names_are_cut_and_stay_apart():
    """The counts of DiffRate in 32 blocks are longer than a file's name may be."""
    counts = ",".join(str(257 - block) for block in range(32))
    both = [
        report_suffix("validation", f"reduction=diffrate:prune_kept=({counts},{last})")
        for last in (3, 4)
    ]
    assert both[0] != both[1]
    for name in both:
        assert name.startswith("-reduction_diffrate_prune_kept_257_256_")
        assert name.endswith("-validation")
        assert len(name) < 200
