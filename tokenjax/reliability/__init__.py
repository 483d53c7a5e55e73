"""Commands that hurt a run and its input on purpose, and see that nothing is lost.

python -m tokenjax.reliability.chaos     kills a run at random moments
python -m tokenjax.reliability.fuzz      damages images, configs, weights, checkpoints
"""
