"""Measure a model: parameters, FLOPs, latency, throughput, memory.

    tokenjax bench --models vdpa,resnet50,swin_base --image_size 512 --csv out.csv
    tokenjax bench --models 'vdpa(embed_dim=512,num_heads=8),maxvit' --set num_classes=2
    tokenjax bench --model swin_tiny --batch_size auto --dtype float32,bfloat16,float16
    tokenjax bench --model vdpa --train --batch_size 8 --set depth=4,embed_dim=256
    tokenjax bench --models vdpa,resnet50 --peer torch --json run.json --figure run.png
    tokenjax bench --models vdpa,vmamba --peer torch_eager --threads 1 --markdown run.md
    tokenjax bench --models vdpa,resnet50 --compare run.json
    tokenjax bench --models vit_small_patch16,vit_base_patch16 --reduction tome:r=13
    tokenjax bench --models vit,demo --programs cuda,tpu --dtype bfloat16
    tokenjax bench --model my_model --import my_model.py

`--model sdtps` is the module and the whole DeMo, and the stages of DeMo in turns.
`--peer torch` times the same model in PyTorch, eager and compiled, in turns with ours.
`--threads` is for both. What stands in a model's brackets is its own, --set is for all.
TensorFlow is not needed. In a checkout `python bench.py` does the same.
"""

from collections.abc import Sequence

from absl import flags

from tokenjax import command_line


def define_flags(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Define what is measured, and how."""
    from tokenjax.benchmark.command_line import define_bench_flags

    define_bench_flags(values)


def main(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Measure, print the tables and write the files.

    Raises: UserError for whatever a user can mend.
    """
    from tokenjax.benchmark import bench

    bench.main(argv[:1], values)


if __name__ == "__main__":
    command_line.run("bench")
