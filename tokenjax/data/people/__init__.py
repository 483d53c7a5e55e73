"""Drawn persons in three kinds of light: a re-identification set without a download."""
