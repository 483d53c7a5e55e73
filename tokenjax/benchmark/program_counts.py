"""What a lowered program holds: products, loops, sorts, and how many of each.

Products of equal types, dimension numbers and precision are one for the compiler: a GPU
times its ways to compute each of them once. Functions that a program calls count as
often as they are called, as the compiler inlines them. What stands in a loop is there
once, and runs as often as the loop does; of a branch each side is there, and counts as
if it ran.

    products    stablehlo.dot_general: matrix products
    loops       stablehlo.while: (iterations, or None if they follow from the data)
    branches    stablehlo.case and .if: how many sides each has
    sorts       stablehlo.sort, and top-k

FLOPs are 2 per multiply-add, as in `flops`.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo

from tokenjax.benchmark.lowering import CUSTOM_CALL, call_target, operations_of

DOT, CONVOLUTION = "stablehlo.dot_general", "stablehlo.convolution"
SORTS = ("stablehlo.sort", "chlo.top_k")
GATHERS = ("stablehlo.gather", "stablehlo.dynamic_gather")
SCATTERS = ("stablehlo.scatter", "stablehlo.select_and_scatter")
_LAYERS = re.compile(r'^loc\("([^"]*)"')
_NUMBERED = re.compile(r"_\d+")


class Product(NamedTuple):
    """A matrix product or convolution, as the compiler tells it from others.

    Attributes:
      operation: DOT or CONVOLUTION.
      left, right, result: types, such as "34x16xbf16".
      how: dimension numbers, window, precision.
      flops: of one.
    """

    operation: str
    left: str
    right: str
    result: str
    how: str
    flops: int

    def element_types(self) -> set[str]:
        """Return what its operands are of: {"bf16"}."""
        return {operand.rpartition("x")[2] for operand in (self.left, self.right)}

    def __str__(self) -> str:
        return f"{self.left} · {self.right}"


@dataclasses.dataclass
class Counts:
    """Counts of one program.

    Attributes:
      operations: by name; those of branches and loops too.
      products: how often each is there.
      runs: how often each runs.
      places: where in the model each is: parts of the model, numbers left out.
      loops: by iterations, None where they are not known before it runs.
      iterations: of all loops together, as often as they run.
      branches: by the number of sides.
      custom_calls: by target.
      has_float64: whether a number of the program is float64.
    """

    operations: Counter[str] = dataclasses.field(default_factory=Counter)
    products: Counter[Product] = dataclasses.field(default_factory=Counter)
    runs: Counter[Product] = dataclasses.field(default_factory=Counter)
    places: dict[Product, set[str]] = dataclasses.field(default_factory=dict)
    loops: Counter[int | None] = dataclasses.field(default_factory=Counter)
    iterations: int = 0
    branches: Counter[int] = dataclasses.field(default_factory=Counter)
    custom_calls: Counter[str] = dataclasses.field(default_factory=Counter)
    has_float64: bool = False

    def of(self, *names: str) -> int:
        """Count the operations of these names."""
        return sum(self.operations[name] for name in names)

    def distinct(self, operation: str) -> int:
        """Count the products of an operation that differ."""
        return sum(product.operation == operation for product in self.products)

    def wider_than(self, element_type: str) -> dict[Product, int]:
        """Return the products with an operand in float32 or float64, most work first.

        Of a program in `element_type`, "bf16" or "f16"; nothing of one in float32.
        """
        if element_type not in ("bf16", "f16"):
            return {}
        wide = {
            product: count
            for product, count in self.products.items()
            if product.element_types() & {"f32", "f64"}
        }
        order = sorted(wide, key=lambda each: -each.flops * self.runs[each])
        return {product: wide[product] for product in order}

    def share_of_flops(self, products: Mapping[Product, int]) -> float:
        """Return the part of all FLOPs that is in these products, 0 without any."""
        whole = sum(each.flops * times for each, times in self.runs.items())
        part = sum(each.flops * self.runs[each] for each in products)
        return part / whole if whole else 0.0


def count(module: ir.Module) -> Counts:
    """Count what a program holds that `lowering.lower` made."""
    functions = {
        ir.StringAttr(operation.attributes["sym_name"]).value: operation
        for operation in operations_of(module.operation.regions[0])
    }
    found = Counts()
    _count(functions["main"].regions[0], functions, 1, found)
    return found


def _count(
    region: ir.Region, functions: Mapping[str, ir.Operation], times: int, to: Counts
) -> None:
    """Add what stands in a region, and in all that it calls, run so many times."""
    for operation in operations_of(region):
        name, inner = operation.name, times
        if name == "func.call":
            callee = ir.FlatSymbolRefAttr(operation.attributes["callee"]).value
            _count(functions[callee].regions[0], functions, times, to)
            continue
        if name in ("stablehlo.return", "func.return", "stablehlo.constant"):
            continue
        to.operations[name] += 1
        to.has_float64 |= any("f64" in str(each.type) for each in operation.results)
        if name in (DOT, CONVOLUTION):
            _add_product(operation, times, to)
        elif name == CUSTOM_CALL:
            to.custom_calls[call_target(operation)] += 1
        elif name == "stablehlo.while":
            trips = _trips(operation)
            to.loops[trips] += 1
            inner = times * (1 if trips is None else trips)
            to.iterations += inner
        elif name in ("stablehlo.case", "stablehlo.if") and len(operation.regions) > 1:
            if _constant(operation.operands[0]) is not None:
                continue  # which platform this is: nothing is left of it
            to.branches[len(operation.regions)] += 1
        for each in operation.regions:
            _count(each, functions, inner, to)


def _add_product(operation: ir.Operation, times: int, to: Counts) -> None:
    left, right = operation.operands
    result = operation.results[0]
    how = "; ".join(f"{k}={operation.attributes[k]}" for k in _names(operation))
    product = Product(
        operation.name,
        _written(left),
        _written(right),
        _written(result),
        how,
        _flops(operation),
    )
    to.products[product] += 1
    to.runs[product] += times
    to.places.setdefault(product, set()).add(_place(operation))


def _names(operation: ir.Operation) -> list[str]:
    return sorted(
        each if isinstance(each, str) else each.name for each in operation.attributes
    )


def _written(value: ir.Value) -> str:
    """Return a type as "34x16xbf16"."""
    return str(value.type).removeprefix("tensor<").removesuffix(">")


def _flops(operation: ir.Operation) -> int:
    attributes = operation.attributes
    left, right = (list(each.type.shape) for each in operation.operands)
    outputs = math.prod(operation.results[0].type.shape)
    if operation.name == DOT:
        numbers = stablehlo.DotDimensionNumbers(attributes["dot_dimension_numbers"])
        axes = numbers.lhs_contracting_dimensions
        return 2 * outputs * math.prod(left[axis] for axis in axes)
    window = stablehlo.ConvDimensionNumbers(attributes["dimension_numbers"])
    features = right[window.kernel_output_feature_dimension]
    return 2 * outputs * math.prod(right) // features


def _place(operation: ir.Operation) -> str:
    """Return the part of the model that an operation is of: "blocks/attn/qkv"."""
    named = _LAYERS.match(str(operation.location))
    if not named:
        return "?"
    # "jit(step)/" and the model's own name first, the primitive last
    parts = named[1].split("/")[1:-1]
    return _NUMBERED.sub("", "/".join(parts))


def _trips(loop: ir.Operation) -> int | None:
    """Return how often a loop runs that counts from a constant up to another."""
    condition, body = loop.regions
    compare = next(
        (each for each in operations_of(condition) if "compare" in each.name), None
    )
    if compare is None or "LT" not in str(compare.attributes["comparison_direction"]):
        return None
    counter, limit = compare.operands
    if not isinstance(counter.owner, ir.Block):
        return None
    place = ir.BlockArgument(counter).arg_number
    first, last = _constant(loop.operands[place]), _constant(limit)
    if first is None or last is None or not _steps_by_one(body, place):
        return None
    return max(last - first, 0)


def _steps_by_one(body: ir.Region, place: int) -> bool:
    """Return whether a loop's body adds 1 to the counter in that place."""
    *_, returned = operations_of(body)
    step = returned.operands[place].owner
    if getattr(step, "name", "") != "stablehlo.add":
        return False
    return any(_constant(each) == 1 for each in step.operands)


def _constant(value: ir.Value) -> int | None:
    """Return an integer that is written in the program, else None."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "stablehlo.constant":
        return None
    found = re.match(r"dense<(-?\d+)>", str(owner.attributes["value"]))
    return int(found[1]) if found else None
