"""Where a device's time goes: planes as the profilers of GPU, TPU and CPU name them."""

import types
from typing import NamedTuple

import pytest

from tokenjax.benchmark import hlo_text, kernel_kinds, kernel_times

PROGRAM = """\
HloModule jit_step, is_scheduled=true

%fused.1 (p.1: f32[], p.2: f32[]) -> f32[] {
  %p.1 = f32[] parameter(0)
  %m.1 = f32[] multiply(%p.1, %p.1), NORM
  ROOT %add.2 = f32[] add(%m.1, %p.1), NORM
}

%transposed (p.3: f32[]) -> f32[] {
  %p.3 = f32[] parameter(0)
  ROOT %transpose.4 = f32[] transpose(%p.3), dimensions={1,0}
}

%product (p.5: f32[], p.6: f32[]) -> f32[] {
  %p.5 = f32[] parameter(0)
  ROOT %dot.7 = f32[] dot(%p.5, %p.6), lhs_contracting_dims={1}, FC1
}

%command_buffer (p.8: f32[]) -> f32[] {
  %p.8 = f32[] parameter(0)
  %loop_add_fusion.3 = f32[] fusion(%p.8), kind=kLoop, calls=%fused.1
  %wrapped_transpose = f32[] fusion(%p.8), kind=kInput, calls=%transposed
  ROOT %gemm_fusion_dot.12 = f32[] fusion(%p.8), kind=kCustom, calls=%product
}

ENTRY %main.9 (w.1: f32[], x.1: f32[]) -> (f32[], u8[0]) {
  %x.1 = f32[] parameter(0), metadata={op_name="x"}
  %call = f32[] call(%x.1), to_apply=%command_buffer
  %custom-call.5 = (f32[], u8[0]{0}) custom-call(%call), FMHA, ATTEND
  ROOT %tuple = (f32[], u8[0]{0}) tuple(%custom-call.5)
}
"""


class Event(NamedTuple):
    name: str
    start_ns: float
    duration_ns: float
    stats: tuple = ()


def plane(name, **lines):
    made = [types.SimpleNamespace(name=k, events=list(v)) for k, v in lines.items()]
    return types.SimpleNamespace(name=name, lines=made)


SCOPES = {
    "NORM": "jit(step)/jvp(ViT)/encoder/blocks_3/norm1/mul",
    "FC1": "jit(step)/transpose(jvp(ViT))/encoder/blocks_0/mlp/fc1/dot_general",
    "ATTEND": "jit(step)/jvp(ViT)/encoder/blocks_11/blocks_11.attend/attn/custom_call",
}
for short, scope in SCOPES.items():
    PROGRAM = PROGRAM.replace(short, f'metadata={{op_name="{scope}"}}')
PROGRAM = PROGRAM.replace("FMHA", 'custom_call_target="__cudnn$fmhaSoftmax"')
OPERATIONS = hlo_text.read(PROGRAM)
NVJET = "nvjet_sm90_tst_128x256_64x4_2x1_v_bz_coopA_TNT"
SDPA = "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x64"


def gpu(streams):
    first = {name: [Event(*event) for event in events] for name, events in streams}
    return [
        plane("/host:CPU", python=[Event("call", 0, 1e6, (("hlo_op", "call"),))]),
        plane("/device:GPU:0", **first, **{"XLA Modules": [Event("jit_step", 0, 900)]}),
        plane("/device:CUSTOM:Megascale", other=[Event("x", 0, 5)]),
    ]


def test_a_programs_text_tells_what_each_operation_does_and_where():
    fusion = OPERATIONS["loop_add_fusion.3"]
    assert fusion.opcode == "fusion"
    assert fusion.inside == {"parameter", "multiply", "add"}
    assert hlo_text.part(fusion.scope) == "encoder/blocks_*/norm1"
    call = OPERATIONS["custom-call.5"]
    assert (call.opcode, call.target) == ("custom-call", "__cudnn$fmhaSoftmax")
    assert hlo_text.part(call.scope) == "encoder/blocks_*/attn"
    assert OPERATIONS["gemm_fusion_dot.12"].inside == {"parameter", "dot"}


@pytest.mark.parametrize(
    ("scope", "part"),
    [
        (
            "jit(f)/ViT/encoder/blocks_3/attn/qkv/dot_general",
            "encoder/blocks_*/attn/qkv",
        ),
        ("jit(f)/transpose(jvp(ViT))/head/dot_general", "head (backward)"),
        ("jit(f)/ViT/blocks_0/attn/bhqd,bhkd->bhqk/dot_general", "blocks_*/attn"),
        ("jit(f)/ViT/blocks_0/jit(gelu)/erf", "blocks_*"),
        ("jit(f)/ViT/while/body/closed_call/blocks_0/mlp/add", "blocks_*/mlp"),
        (
            "jit(f)/jvp(ViT)/checkpoint/rematted_computation/blocks_2/mlp/add",
            "blocks_*/mlp",
        ),
        ("jit(f)/ViT/add", "ViT"),
        ("jit(step)/mul", hlo_text.OUTSIDE),
        ("jit(step)/transpose(jvp(jit(take_along_axis)))/add", hlo_text.OUTSIDE),
        ("", hlo_text.UNNAMED),
    ],
)
def test_parts_of_a_model(scope, part):
    assert hlo_text.part(scope) == part


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (NVJET, kernel_kinds.PRODUCTS),
        ("gemm_fusion_dot_12", kernel_kinds.PRODUCTS),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128", "products"),
        ("void cutlass::Kernel2<cutlass_80_tensorop_bf16>", kernel_kinds.PRODUCTS),
        ("sm80_xmma_fprop_implicit_gemm_indexed_bf16", kernel_kinds.PRODUCTS),
        (SDPA, kernel_kinds.ATTENTION),
        ("fmha_cutlassF_bf16_aligned_64x64", kernel_kinds.ATTENTION),
        ("loop_add_fusion", kernel_kinds.ELEMENTWISE),
        ("input_reduce_fusion_7", kernel_kinds.ELEMENTWISE),
        ("wrapped_transpose", kernel_kinds.COPIES),
        ("loop_convert_fusion_2", kernel_kinds.COPIES),
        ("MemcpyD2D", kernel_kinds.COPIES),
        ("input_scatter_fusion", kernel_kinds.SORTS),
        ("void cub::DeviceRadixSortKernel<float>", kernel_kinds.SORTS),
        ("loop_gather_fusion_1", kernel_kinds.SORTS),
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", kernel_kinds.COLLECTIVES),
        ("ncclDevKernel_ReduceScatter_Sum_f32", kernel_kinds.COLLECTIVES),
        ("RngBitGenerator", kernel_kinds.OTHER),
    ],
)
def test_kinds_by_name(name, kind):
    assert kernel_kinds.kind(name, None) == kind


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("loop_add_fusion.3", kernel_kinds.ELEMENTWISE),
        ("wrapped_transpose", kernel_kinds.COPIES),
        ("gemm_fusion_dot.12", kernel_kinds.PRODUCTS),
        ("custom-call.5", kernel_kinds.ATTENTION),
        ("call", kernel_kinds.OTHER),
    ],
)
def test_kinds_by_operation(operation, kind):
    assert kernel_kinds.kind("fusion_7", OPERATIONS[operation]) == kind


def test_a_gpus_streams():
    named = (("hlo_op", "custom-call.5"), ("hlo_module", "jit_step"))
    planes = gpu(
        [
            (
                "Stream #13(Compute,MemcpyD2D)",
                [
                    ("loop_add_fusion_3", 1000, 100),
                    (SDPA, 1200, 300, named),
                    ("gemm_fusion_dot_12", 1500, 200),
                    ("MemcpyD2D", 1950, 50),
                ],
            ),
            ("Stream #14(Compute)", [(NVJET, 1600, 200)]),
        ]
    )
    times = kernel_times.summarize(planes, OPERATIONS, calls=2)
    found = {each.name: (each.kind, each.part) for each in times.kernels}
    assert found == {
        SDPA: (kernel_kinds.ATTENTION, "encoder/blocks_*/attn"),
        "gemm_fusion_dot_12": ("products", "encoder/blocks_*/mlp/fc1 (backward)"),
        NVJET: (kernel_kinds.PRODUCTS, kernel_times.UNKNOWN),
        "loop_add_fusion_3": (kernel_kinds.ELEMENTWISE, "encoder/blocks_*/norm1"),
        "MemcpyD2D": (kernel_kinds.COPIES, kernel_times.UNKNOWN),
    }
    assert times.devices == 1
    assert times.seconds == pytest.approx(850e-9 / 2)
    assert times.span == pytest.approx(1000e-9 / 2)
    assert times.idle == pytest.approx(1 - (100 + 300 + 300 + 50) / 1000)
    assert times.known == pytest.approx(600 / 850)
    products = kernel_times.by_kind(times)[0]
    assert products == pytest.approx(
        (kernel_kinds.PRODUCTS, 200e-9, 1.0, 400 / 850, products.most)
    )


def test_what_runs_within_another_is_counted_once():
    events = [
        Event("while.1", 0, 100, (("hlo_op", "while.1"),)),
        Event("add.1", 10, 30, (("hlo_op", "add.1"),)),
        Event("add.1", 50, 30, (("hlo_op", "add.1"),)),
        Event("mul.2", 100, 10, (("hlo_op", "mul.2"),)),
        Event("ThreadpoolListener::StartRegion", 0, 500),
    ]
    times = kernel_times.summarize([plane("/host:CPU", thread=events)], {}, calls=1)
    seconds = {each.name: round(1e9 * each.seconds) for each in times.kernels}
    assert seconds == {"while.1": 40, "add.1": 60, "mul.2": 10}
    assert (times.idle, round(1e9 * times.span)) == (0, 110)
    (folded,) = (each for each in kernel_times.by_kernel(times) if each.name == "add")
    assert folded.runs == 2


def test_two_devices_are_averaged_and_a_tpus_operations_read():
    def operations(*events):
        return {
            "XLA Ops": [Event(*each) for each in events],
            "Steps": [Event("1", 0, 9)],
        }

    planes = [
        plane(
            "/device:TPU:0", **operations(("fusion.1", 0, 50), ("fusion.1", 100, 50))
        ),
        plane("/device:TPU:1", **operations(("fusion.1", 0, 50))),
    ]
    times = kernel_times.summarize(planes, {}, calls=1)
    assert times.devices == 2
    assert times.span == pytest.approx(100e-9)
    assert times.idle == pytest.approx(0.25)
    assert times.kernels[0].runs == 3


def test_a_profile_without_kernels():
    times = kernel_times.summarize([plane("/host:CPU", python=[])], {}, calls=3)
    assert (times.kernels, times.seconds, times.idle, times.known) == ((), 0, 0, 0)
