"""What a kernel does: by the operation that it comes from, else by its own name.

A fusion with a product in it is a product, whatever else it does on the way; one that
only moves numbers is a copy; the rest is element-wise. A library's kernel, and what a
custom call calls, is known by its name.
"""

import re

from tokenjax.benchmark.hlo_text import Operation

PRODUCTS, ATTENTION = "products", "attention kernels"
ELEMENTWISE = "element-wise, normalisation"
COPIES = "copies, transposes, casts"
SORTS = "sorts, gathers, scatters"
COLLECTIVES, OTHER = "collectives", "other"

# By a kernel's or a library's own name; the first that fits.
_NAMES = (
    (ATTENTION, r"sdpa|fmha|flash|attention|\bmha"),
    (COLLECTIVES, r"nccl|all[-_]?(reduce|gather|to[-_]?all)|reduce[-_]?scatter|\brccl"),
    (COLLECTIVES, r"collective[-_]?permute"),
    (PRODUCTS, r"gemm|gemv|nvjet|cutlass|xmma|cublas|matmul|splitk|implicit|[dw]grad"),
    (PRODUCTS, r"(^|[\W_])dot([\W_]|$)|dot_general|conv(?!ert)"),
    (SORTS, r"sort|gather|scatter|top[-_]?k|radix|\bcub::|select_k"),
    (COPIES, r"memcpy|memset|copy|transpose|convert|concatenate|(^|_)(pad|slice)"),
    (ELEMENTWISE, r"fusion|reduce|norm|softmax|elementwise|wrapped_"),
)
_PRODUCTS = {"dot", "convolution", "ragged-dot", "scaled-dot"}
_SORTS = {"sort", "gather", "scatter", "topk"}
_MOVES = {
    *("parameter", "constant", "iota", "tuple", "get-tuple-element", "bitcast"),
    *("copy", "transpose", "reshape", "broadcast", "convert", "slice", "pad"),
    *("concatenate", "reverse", "dynamic-slice", "dynamic-update-slice"),
    *("copy-start", "copy-done", "bitcast-convert"),
}
_CONTROL = {"while", "conditional", "call"}  # what they take beside what they run
_LIBRARIES = {"custom-call", "fusion"}  # that may be anything inside


def kind(name: str, operation: Operation | None) -> str:
    """Return what a kernel does."""
    called = f"{operation.target} {name}" if operation else name
    by_name = next(
        (kind for kind, form in _NAMES if re.search(form, called, re.IGNORECASE)), OTHER
    )
    if operation is None or by_name in (ATTENTION, COLLECTIVES):
        return by_name
    opcodes = operation.inside or {operation.opcode}
    if opcodes & _PRODUCTS:
        return PRODUCTS
    if opcodes & _SORTS:
        return SORTS
    if opcodes <= _CONTROL:
        return OTHER
    if opcodes <= _LIBRARIES:
        return by_name
    return COPIES if opcodes <= _MOVES | _LIBRARIES else ELEMENTWISE
