"""The selective state space recurrence, and the four paths over a map it runs along.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,    y_t = C_t h_t + D u_t,    h_0 = 0

in float32 whatever the inputs are. A is negative, so that the state only decays.

Exact, and not one step after another: the sequence is cut into about sqrt(length)
chunks, which are walked side by side. A first walk, from a state of zeros, gives how
much each chunk decays a state and what it adds to it; a walk over these few gives the
state that each chunk starts from; a second walk, from there, gives all states. Decays
are only ever multiplied, never divided by nor summed in an exponent. The gradient is
the same recurrence backwards and stores nothing but the arguments and the states:

    g_t = C_t dL/dy_t + exp(delta_{t+1} A) g_{t+1}

The states of one recurrence, 1536, 384 and 384 wide, in ms on two cores of a CPU:

    length                 196    3136   16384
    chunks                 0.3     1.6      20
    jax.lax.scan           0.2     1.1      45
    associative_scan       0.5     3.7     106

An accelerator waits for every step, of which chunks take 3 sqrt(length) (not measured).

Axes: path k of 4, batch b, map h, w, position l along a path, channel d, state n.

Source: Gu and Dao 2023, Mamba (arXiv 2312.00752); Liu et al. 2024, VMamba (arXiv
2401.10166), and `selective_scan_torch`, `cross_scan_fwd` and `cross_merge_fwd` of its
repository MzeroMiko/VMamba.
"""

import math

import jax
import jax.numpy as jnp

PATHS = 4


def cross_scan(maps: jax.Array) -> jax.Array:
    """Read a map along four paths: by rows, by columns, and both backwards.

    Args:
      maps: (b, h, w, d), or (4, b, h, w, d), a map for each path.

    Returns: (4, b, h * w, d).
    """
    batch, channels = maps.shape[-4], maps.shape[-1]
    by_path = list(maps) if maps.ndim == 5 else [maps] * PATHS
    sequences = [
        (turned.swapaxes(1, 2) if path % 2 else turned).reshape(batch, -1, channels)
        for path, turned in enumerate(by_path)
    ]
    backwards = [jnp.flip(sequence, axis=1) for sequence in sequences[2:]]
    return jnp.stack(sequences[:2] + backwards)


def cross_merge(sequences: jax.Array, height: int, width: int) -> jax.Array:
    """Put four paths (4, b, h * w, d) back in place and add them: (b, h, w, d)."""
    _, batch, _, channels = sequences.shape
    rows, columns = sequences[:2] + jnp.flip(sequences[2:], axis=2)
    columns = columns.reshape(batch, width, height, channels).swapaxes(1, 2)
    return rows.reshape(batch, height, width, channels) + columns


@jax.custom_vjp
def selective_scan(
    u: jax.Array,
    delta: jax.Array,
    A: jax.Array,
    B: jax.Array,
    C: jax.Array,
    D: jax.Array,
) -> jax.Array:
    """Run the recurrence along every path; the outputs y, float32 (k, b, l, d).

    Args:
      u: (k, b, l, d), the inputs.
      delta: (k, b, l, d), the steps, positive.
      A: (k, d, n), negative.
      B, C: (k, b, l, n).
      D: (k, d).
    """
    return _forward(u, delta, A, B, C, D)[0]


def _forward(*inputs: jax.Array) -> tuple[jax.Array, tuple]:
    u, delta, A, B, C, D = (x.astype(jnp.float32) for x in inputs)
    added = (delta * u)[:, :, :, None] * B[..., None]  # (k, b, l, n, d)
    states = _recurrence(_decay(delta, A), added)
    outputs = jnp.sum(states * C[..., None], axis=3) + D[:, None, None] * u
    return outputs, (inputs, states)


def _backward(kept: tuple, cotangent: jax.Array) -> tuple[jax.Array, ...]:
    inputs, states = kept
    u, delta, A, B, C, D = (x.astype(jnp.float32) for x in inputs)
    decay = _decay(delta, A)
    nothing = jnp.zeros_like(decay[:, :, :1])
    following = jnp.concatenate([decay[:, :, 1:], nothing], axis=2)
    previous = jnp.concatenate([nothing, states[:, :, :-1]], axis=2)

    of_outputs = cotangent[:, :, :, None] * C[..., None]
    of_states = _recurrence(following, of_outputs, reverse=True)  # (k, b, l, n, d)
    of_exponent = of_states * previous * decay
    of_added = jnp.sum(of_states * B[..., None], axis=3)  # (k, b, l, d)
    gradients = (
        delta * of_added + D[:, None, None] * cotangent,
        u * of_added + jnp.sum(of_exponent * _rates(A), axis=3),
        jnp.sum(of_exponent * delta[:, :, :, None], axis=(1, 2)).swapaxes(1, 2),
        # As products, for XLA's sums over the last axis are slow on CPU.
        jnp.einsum("kblnd,kbld->kbln", of_states, delta * u),
        jnp.einsum("kblnd,kbld->kbln", states, cotangent),
        jnp.sum(cotangent * u, axis=(1, 2)),
    )
    return tuple(x.astype(y.dtype) for x, y in zip(gradients, inputs, strict=True))


selective_scan.defvjp(_forward, _backward)


def _rates(A: jax.Array) -> jax.Array:
    """Turn (k, d, n) into (k, 1, 1, n, d): the channels are last everywhere."""
    return A.swapaxes(1, 2)[:, None, None]


def _decay(delta: jax.Array, A: jax.Array) -> jax.Array:
    """Return the share of a state that a step leaves: (k, b, l, n, d)."""
    return jnp.exp(delta[:, :, :, None] * _rates(A))


def _recurrence(decay: jax.Array, added: jax.Array, reverse: bool = False) -> jax.Array:
    """Run h_t = decay_t h_{t-1} + added_t from zeros; all h, (k, b, l, n, d).

    In chunks; from the last position to the first with `reverse`.
    """
    whole = added.shape
    rows, length, width = whole[0] * whole[1], whole[2], whole[3] * whole[4]
    steps = math.isqrt(length - 1) + 1
    chunks = -(-length // steps)
    # What fills up the last chunk adds nothing to a state, and is cut off again.
    filling = ((0, 0), (0, chunks * steps - length), (0, 0))
    decay, added = (
        jnp.pad(x.reshape(rows, length, width), filling).reshape(
            rows, chunks, steps, width
        )
        for x in (decay, added)
    )

    def read(step: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        place = steps - 1 - step if reverse else step
        factor = jax.lax.dynamic_index_in_dim(decay, place, 2, keepdims=False)
        term = jax.lax.dynamic_index_in_dim(added, place, 2, keepdims=False)
        return place, factor, term  # both (rows, chunks, width)

    def summarise(step: jax.Array, ends: tuple) -> tuple:
        _, factor, term = read(step)
        return factor * ends[0], factor * ends[1] + term

    def join(state: jax.Array, ends: tuple) -> tuple[jax.Array, jax.Array]:
        return ends[0] * state + ends[1], state

    def walk(step: jax.Array, carry: tuple) -> tuple:
        place, factor, term = read(step)
        state = factor * carry[0] + term
        states = jax.lax.dynamic_update_index_in_dim(carry[1], state, place, 2)
        return state, states

    zeros = jnp.zeros((rows, chunks, width))
    ends = jax.lax.fori_loop(0, steps, summarise, (zeros + 1, zeros))
    by_chunk = tuple(end.swapaxes(0, 1) for end in ends)  # (chunks, rows, width)
    _, starts = jax.lax.scan(join, zeros[:, 0], by_chunk, reverse=reverse)
    start = (starts.swapaxes(0, 1), jnp.zeros_like(added))
    _, states = jax.lax.fori_loop(0, steps, walk, start)
    return states.reshape(rows, -1, width)[:, :length].reshape(whole)
