"""What a model costs: parameters, FLOPs, latency and memory, as a table and as CSV."""

from tokenjax.benchmark.flops import Flops, count_flops, flops_by_primitive
from tokenjax.benchmark.latency import Latency, Timing, measure_latency
from tokenjax.benchmark.measure import Row, measure_model, measure_module
from tokenjax.benchmark.memory import Memory, peak_memory
from tokenjax.benchmark.table import format_table, write_csv
from tokenjax.benchmark.torch_peers import register_peer

__all__ = [
    "Flops",
    "Latency",
    "Memory",
    "Row",
    "Timing",
    "count_flops",
    "flops_by_primitive",
    "format_table",
    "measure_latency",
    "measure_model",
    "measure_module",
    "peak_memory",
    "register_peer",
    "write_csv",
]
