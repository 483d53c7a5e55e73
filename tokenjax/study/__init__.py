"""Comparisons: many runs of the training loop, one table.

python -m tokenjax.study --config configs/study_vdpa.py [--workdir DIR] [--jobs 2]
"""
