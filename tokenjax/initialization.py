"""New variables by a small program: what is drawn alike is drawn in one loop.

A network's `init` runs its forward pass, which nobody needs, and draws each weight by a
kernel of its own; to compile these takes longer than all the rest of a start. Here
`init` is traced, what only the outputs of the forward pass need is left out before
anything is lowered, and numbers of one distribution come from one loop over their keys,
whatever shapes they go into: number i of a key is the same however many are drawn
(`jax_threefry_partitionable`). All numbers are those of `init`, bit for bit.
"""

import functools
import math
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import NamedTuple, ParamSpec, TypeAlias, TypeGuard, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jax.interpreters import partial_eval

Arguments = ParamSpec("Arguments")
Variables = TypeVar("Variables")
Values: TypeAlias = dict[Var, jax.Array]


class Draw(NamedTuple):
    """An equation that draws numbers.

    Attributes:
      name: of what draws, a function of `DRAWS`.
      key: to draw by.
      bounds: of the distribution, where it has any.
      out: what is drawn.
      scale: what it is multiplied by, if that is drawn with it.
    """

    name: str
    key: Var
    bounds: tuple[float, ...]
    out: Var
    scale: float | None = None

    @property
    def size(self) -> int:
        """Return how many numbers are drawn."""
        return math.prod(shape_of(self.out))


def _normal(key: jax.Array, count: int) -> jax.Array:
    return jax.random.normal(key, (count,))


def _uniform(key: jax.Array, count: int, low: float, high: float) -> jax.Array:
    return jax.random.uniform(key, (count,), minval=low, maxval=high)


def _truncated_normal(key: jax.Array, count: int, low: float, high: float) -> jax.Array:
    return jax.random.truncated_normal(key, low, high, (count,))


# By what jax.random calls the programs of its functions.
DRAWS: dict[str, Callable[..., jax.Array]] = {
    "_normal": _normal,
    "_uniform": _uniform,
    "_truncated_normal": _truncated_normal,
}
# Numbers drawn in vain, to be as many as the largest of a loop: no more than so many
# times those needed, and not counted below this number.
MOST_TIMES, FREE = 3, 1 << 20


class Traced:
    """What an `init` does, without what its variables do not need.

    Attributes:
      outputs: the variables, flat.
      structure: their tree.
      inputs: what stands for `init`'s arguments, flat.
      constants: what they close over, with its values.
    """

    def __init__(self, closed: ClosedJaxpr, structure: jax.tree_util.PyTreeDef):
        jaxpr, _ = partial_eval.dce_jaxpr(
            closed.jaxpr, [True] * len(closed.jaxpr.outvars), instantiate=True
        )
        self._jaxpr = jaxpr
        self.outputs: list[Var | Literal] = list(jaxpr.outvars)
        self.structure = structure
        self.inputs: list[Var] = list(jaxpr.invars)
        self.constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        self._origin = {out: eqn for eqn in jaxpr.eqns for out in eqn.outvars}
        self._order = {id(eqn): number for number, eqn in enumerate(jaxpr.eqns)}

    def origin(self, variable: Var) -> JaxprEqn:
        """Return the equation that makes a variable."""
        return self._origin[variable]

    def trace_back(
        self, *outs: Var, known: Collection[Var] = (), through_keys: bool = False
    ) -> tuple[tuple[JaxprEqn, ...], tuple[Var, ...]]:
        """Return the equations that make variables, in order, and what they start from.

        They start from inputs, from what is `known`, and, unless they are traced
        `through_keys`, from keys.
        """
        found: dict[int, JaxprEqn] = {}
        starts: dict[Var, None] = {}
        waiting = list(outs)
        while waiting:
            variable = waiting.pop()
            stop = is_key(variable) and not through_keys
            if stop or variable in known or variable not in self._origin:
                starts[variable] = None
                continue
            equation = self._origin[variable]
            if id(equation) not in found:
                found[id(equation)] = equation
                waiting += [v for v in equation.invars if not isinstance(v, Literal)]
        equations = sorted(found.values(), key=lambda eqn: self._order[id(eqn)])
        return tuple(equations), tuple(starts)

    def function(
        self,
        equations: Sequence[JaxprEqn],
        inputs: Sequence[Var],
        outputs: Sequence[Var],
    ) -> Callable[..., list[jax.Array]]:
        """Return the function that equations are; they read nothing but `inputs`."""
        part = self._jaxpr.replace(
            constvars=[],
            invars=list(inputs),
            outvars=list(outputs),
            eqns=list(equations),
            effects=frozenset().union(*(equation.effects for equation in equations)),
            debug_info=self._jaxpr.debug_info.with_unknown_names(),
        )
        run = jaxpr_as_fun(ClosedJaxpr(part, []))
        return cast(Callable[..., list[jax.Array]], run)


def trace(init: Callable[..., object], *arguments: object, **named: object) -> Traced:
    """Trace an `init`, of which only the shapes of the arguments are looked at."""
    closed, shapes = jax.make_jaxpr(init, return_shape=True)(*arguments, **named)
    return Traced(closed, jax.tree.structure(shapes))


def draw_alike_together(
    init: Callable[Arguments, Variables],
) -> Callable[Arguments, Variables]:
    """Return a function that makes what `init` does by a smaller program.

    Args:
      init: of a key, and whatever else, to a tree of arrays; to be jitted.
    """

    @functools.wraps(init)
    def initialize(*arguments: Arguments.args, **named: Arguments.kwargs) -> Variables:
        traced = trace(init, *arguments, **named)
        given = jax.tree.leaves((arguments, named))
        values = dict(zip(traced.inputs, given, strict=True)) | traced.constants
        made = _evaluate(traced, values)
        return cast(Variables, jax.tree.unflatten(traced.structure, made))

    return initialize


def is_key(variable: Var | Literal) -> TypeGuard[Var]:
    """Return whether a variable is a key to draw by, or several."""
    kind = variable.aval.dtype  # type: ignore[attr-defined]
    return isinstance(variable, Var) and jnp.issubdtype(kind, jax.dtypes.prng_key)


def shape_of(variable: Var) -> tuple[int, ...]:
    """Return a variable's shape."""
    return cast(jax.core.ShapedArray, variable.aval).shape


def find_draw(equation: JaxprEqn) -> Draw | None:
    """Return what an equation draws, None of one that draws nothing known here."""
    if equation.primitive.name not in ("jit", "pjit"):
        return None
    name = equation.params["name"]
    if name not in DRAWS or len(equation.outvars) != 1:
        return None
    key, *bounds = equation.invars
    if not is_key(key) or shape_of(key):
        return None
    if not all(isinstance(bound, Literal) for bound in bounds):
        return None
    values = tuple(float(cast(Literal, bound).val) for bound in bounds)
    return Draw(name, key, values, equation.outvars[0])


def _evaluate(traced: Traced, values: Values) -> list[jax.Array]:
    """Return the variables, where the inputs have these values."""
    outs = [out for out in traced.outputs if not isinstance(out, Literal)]
    equations, _ = traced.trace_back(*outs, known=values)
    draws = _sliceable(traced, equations, set(outs))
    _derive([draw.key for draw in draws], traced, values)
    for alike in _alike(draws):
        values.update(_draw_together(alike, values))
    missing = [out for out in dict.fromkeys(outs) if out not in values]
    equations, starts = traced.trace_back(*missing, known=values, through_keys=True)
    made = traced.function(equations, starts, missing)(*(values[v] for v in starts))
    values.update(zip(missing, made, strict=True))
    return [
        jnp.asarray(out.val) if isinstance(out, Literal) else values[out]
        for out in traced.outputs
    ]


def _sliceable(
    traced: Traced, equations: Sequence[JaxprEqn], outs: Collection[Var]
) -> list[Draw]:
    """Return the draws of which fewer numbers are the first of more.

    jax.random.normal ends with a product, which XLA makes one with a product that
    follows: to round alike, that one belongs to the draw.
    """
    if not jax.config.jax_threefry_partitionable:  # type: ignore[attr-defined]
        return []
    readers: dict[Var, list[JaxprEqn]] = {}
    for equation in equations:
        for variable in equation.invars:
            if not isinstance(variable, Literal):
                readers.setdefault(variable, []).append(equation)
    found = []
    for draw in map(find_draw, equations):
        if draw is None or not _is_threefry(draw.key) or not draw.size:
            continue
        if draw.out.aval.dtype != jnp.float32:  # type: ignore[attr-defined]
            continue
        if draw.name == "_normal" and readers.get(draw.out):
            scaled = _scaled(draw, readers[draw.out], traced)
            if scaled is None or scaled.out not in outs or readers.get(scaled.out):
                continue
            draw = scaled
        found.append(draw)
    return found


def _is_threefry(key: Var) -> bool:
    return str(key.aval.dtype) == "key<fry>"  # type: ignore[attr-defined]


def _scaled(draw: Draw, readers: Sequence[JaxprEqn], traced: Traced) -> Draw | None:
    """Return a draw with the number that multiplies it; None where that is not all."""
    if len(readers) != 1 or readers[0].primitive.name != "mul":
        return None
    [other] = [v for v in readers[0].invars if v is not draw.out] or [draw.out]
    number = _fold(other, traced)
    if number is None:
        return None
    return draw._replace(out=readers[0].outvars[0], scale=float(number))


def _fold(value: Var | Literal, traced: Traced) -> np.ndarray | None:
    """Return a number that follows from literals alone, rounded as XLA rounds it."""
    if isinstance(value, Literal):
        return np.asarray(value.val) if not np.shape(value.val) else None
    equations, starts = traced.trace_back(value)
    known: dict[Var, np.ndarray] = {}
    for equation in equations:
        compute = _EXACT.get(equation.primitive.name)
        out = equation.outvars[0]
        if starts or shape_of(out) or compute is None:
            return None
        read = [
            np.asarray(v.val) if isinstance(v, Literal) else known[v]
            for v in equation.invars
        ]
        known[out] = np.asarray(compute(*read), out.aval.dtype)  # type: ignore[attr-defined]
    return known.get(value)


# Rounded alike wherever they are computed.
_EXACT: dict[str, Callable[..., np.ndarray]] = {
    "convert_element_type": np.asarray,
    "div": np.divide,
    "mul": np.multiply,
    "sqrt": np.sqrt,
}


def _alike(draws: Sequence[Draw]) -> list[list[Draw]]:
    """Return the draws that one loop makes, as many in each as the largest needs."""
    by_kind: dict[Hashable, list[Draw]] = {}
    for draw in sorted(draws, key=lambda draw: -draw.size):
        by_kind.setdefault((draw.name, draw.bounds, draw.scale), []).append(draw)
    groups: list[list[Draw]] = []
    for kind in by_kind.values():
        group: list[Draw] = []
        for draw in kind:
            drawn = (len(group) + 1) * (group or [draw])[0].size
            needed = sum(each.size for each in group) + draw.size
            if group and drawn > max(MOST_TIMES * needed, FREE):
                groups.append(group)
                group = []
            group.append(draw)
        groups.append(group)
    return groups


def _draw_together(draws: Sequence[Draw], values: Values) -> Values:
    """Return what the draws make, by one loop over their keys."""
    first = draws[0]

    def draw(key: jax.Array) -> jax.Array:
        drawn = DRAWS[first.name](key, first.size, *first.bounds)
        return drawn if first.scale is None else drawn * np.float32(first.scale)

    keys = [values[each.key] for each in draws]
    if len(draws) == 1:
        made = [draw(keys[0])]
    else:
        made = list(jax.lax.map(draw, jnp.stack(keys)))
    return {
        each.out: flat[: each.size].reshape(shape_of(each.out))
        for each, flat in zip(draws, made, strict=True)
    }


def _derive(keys: Sequence[Var], traced: Traced, values: Values) -> None:
    """Add the values of keys that are derived from others.

    A number folded into a key, as Flax does for each variable, is hashed by a loop of
    its own: all numbers for one key are hashed together.
    """
    missing = [key for key in dict.fromkeys(keys) if key not in values]
    folded: dict[Var, dict[Var, int]] = {}  # by the key that the number goes into
    for key in missing:
        equation = traced.origin(key)
        if equation.primitive.name == "random_fold_in":
            base, number = equation.invars
            if base in values and isinstance(number, Literal):
                folded.setdefault(cast(Var, base), {})[key] = number.val
    for base, numbers in folded.items():
        together = jnp.asarray(list(numbers.values()), jnp.uint32)
        folded_in = jax.vmap(jax.random.fold_in, (None, 0))(values[base], together)
        values.update(zip(numbers, folded_in, strict=True))
    missing = [key for key in missing if key not in values]
    equations, starts = traced.trace_back(*missing, known=values, through_keys=True)
    made = traced.function(equations, starts, missing)(*(values[v] for v in starts))
    values.update(zip(missing, made, strict=True))
