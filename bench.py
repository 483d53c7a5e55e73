"""What a model costs: parameters, FLOPs, latency and memory, compiled, in inference.

    python bench.py --model vdpa
    python bench.py --models vdpa,vit --image_size 224 --batch_size 1,8 --csv out.csv
    python bench.py --model vdpa --dtype bfloat16 --set depth=4,embed_dim=256
    python bench.py --model sdtps --batch_size 1,8

`sdtps` is the module and the whole DeMo, and the stages of DeMo in turns.
`python bench.py --help` lists the flags. TensorFlow is not needed.
"""

from tokenjax import command_line
from tokenjax.benchmark import command_line as benchmark

if __name__ == "__main__":
    benchmark.define_flags()
    command_line.run(benchmark.main)
