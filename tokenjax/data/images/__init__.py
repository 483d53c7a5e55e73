"""Image files: found, opened with suspicion, brought to one size."""
