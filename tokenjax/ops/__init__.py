"""The ideas as pure `jax.numpy` functions: no parameters, no Flax, nothing of ours."""
