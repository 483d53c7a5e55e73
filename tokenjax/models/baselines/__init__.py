"""The peers: published classifiers that ours are measured against, one per file.

Each takes the weights of the implementation that its module names, and gives the
logits that it gives. All are classifiers, as `tokenjax.models` says what one is.
"""
