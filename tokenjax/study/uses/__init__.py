"""Trained weights put to several uses: accuracy over measured time."""
