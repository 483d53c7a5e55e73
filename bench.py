"""What a model costs: parameters, FLOPs, latency, throughput and memory, compiled.

    python bench.py --model vdpa
    python bench.py --models vdpa,resnet50,swin_base --image_size 512 --csv out.csv
    python bench.py --model swin_tiny --batch_size auto --dtype float32,bfloat16
    python bench.py --model vdpa --train --batch_size 8 --set depth=4,embed_dim=256
    python bench.py --models vdpa,resnet50 --peer torch --json run.json --figure run.png
    python bench.py --models vdpa,resnet50 --compare run.json
    python bench.py --model sdtps --batch_size 1,8

`sdtps` is the module and the whole DeMo, and the stages of DeMo in turns.
`--peer torch` times the same model in PyTorch, eager and compiled, in turns with ours.
`python bench.py --help` lists the flags. TensorFlow is not needed.
"""

from tokenjax import command_line
from tokenjax.benchmark import bench
from tokenjax.benchmark.command_line import define_bench_flags

if __name__ == "__main__":
    define_bench_flags()
    command_line.run(bench.main)
