"""A compiled program's operations by their names: what each does, and for which part.

XLA prints a program as computations, of which one is the entry. An operation may be a
fusion, which calls a computation, and says where in the model it comes from:

    %fused.3 (p: f32[8,64]) -> f32[8,64] {
      ROOT %dot.1 = f32[8,64]{1,0} dot(%p, %w), metadata={op_name="jit(f)/ViT/head/dot"}
    }
    %gemm_fusion.2 = f32[8,64]{1,0} fusion(%x), kind=kCustom, calls=%fused.3

A part of the model is a path of its modules, numbers of equal ones folded:
`jit(f)/ViT/encoder/blocks_3/attn/qkv/dot_general` is `encoder/blocks_*/attn/qkv`.
"""

import collections
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

OUTSIDE = "outside the model"  # losses, the optimiser
UNNAMED = "added by the compiler"  # copies between layouts, say
BACKWARD = " (backward)"

_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$")
# A type is one word, or several in brackets.
_OPERATION = re.compile(
    r"^\s+(?:ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([a-z][\w\-]*)\("
)
_CALLS = re.compile(r"\bcalls=%?([\w.\-]+)")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_SCOPE = re.compile(r'op_name="([^"]*)"')


class Operation(NamedTuple):
    """One operation of a program.

    Attributes:
      opcode: "dot", "fusion", "custom-call", ...
      scope: where it comes from, as JAX names it; "" where nothing tells.
      inside: opcodes of what it fuses, without its own.
      target: what a custom call calls, "" for others.
    """

    opcode: str
    scope: str
    inside: frozenset[str] = frozenset()
    target: str = ""


class _Line(NamedTuple):
    name: str
    operation: Operation
    calls: str


def read(text: str) -> dict[str, Operation]:
    """Return the operations of a program's text by their names."""
    computations: dict[str, list[_Line]] = collections.defaultdict(list)
    current = ""
    for line in text.splitlines():
        header = _COMPUTATION.match(line)
        if header:
            current = header[1]
            continue
        found = _OPERATION.match(line)
        if found:
            operation = Operation(
                found[2], _first(_SCOPE, line), target=_first(_TARGET, line)
            )
            computations[current].append(
                _Line(found[1], operation, _first(_CALLS, line))
            )
    return {
        line.name: _with_what_it_fuses(line, computations)
        for lines in computations.values()
        for line in lines
    }


def _first(pattern: re.Pattern[str], line: str) -> str:
    found = pattern.search(line)
    return found[1] if found else ""


def _with_what_it_fuses(
    line: _Line, computations: Mapping[str, list[_Line]]
) -> Operation:
    """Add the opcodes within, and where no scope is told the one most often there."""
    fused = list(_all_within(line.calls, computations))
    if not fused:
        return line.operation
    scopes = collections.Counter(
        each.scope
        for each in fused
        if each.scope and each.opcode not in ("parameter", "constant")
    )
    scope = line.operation.scope or next((s for s, _ in scopes.most_common(1)), "")
    inside = frozenset(each.opcode for each in fused)
    return line.operation._replace(scope=scope, inside=inside)


def _all_within(
    name: str, computations: Mapping[str, list[_Line]]
) -> Iterable[Operation]:
    for line in computations.get(name, ()):
        yield line.operation
        if line.calls:
            yield from _all_within(line.calls, computations)


# What JAX puts around the names of functions and modules: jvp(ViT) is ViT.
_AROUND = re.compile(r"(?:jvp|transpose|vmap|shard_map|custom_jvp|custom_vjp)\((.*)\)")
_NO_MODULE = re.compile(
    r"(?:p?jit|core_call|xla_call)\(.*\)"
    r"|while|body|cond|scan|branch_\d+_fun|closed_call|core_call|checkpoint|remat\d*"
    r"|rematted_computation|custom_partitioning.*|custom_[jv][vj]p_call\w*|pjit|shard_map"
)


def part(scope: str) -> str:
    """Return the part of the model that a scope names, and whether it is backward.

    The name of the model's class goes, where a module within it follows, and so do
    methods, functions and products' letters.
    """
    if not scope:
        return UNNAMED
    pieces = [_unwrapped(piece) for piece in scope.split("/")[:-1]]
    modules = [
        piece
        for piece in pieces
        if piece and not _NO_MODULE.fullmatch(piece) and not re.search(r"[.,>]", piece)
    ]
    if not modules:
        return OUTSIDE
    folded = [re.sub(r"_\d+$", "_*", piece) for piece in modules[1:] or modules]
    back = BACKWARD if "transpose(" in scope else ""
    return "/".join(folded) + back


def _unwrapped(piece: str) -> str:
    found = _AROUND.fullmatch(piece)
    return _unwrapped(found[1]) if found else piece
