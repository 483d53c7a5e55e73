"""What only a checkout has: recorded cases, references in PyTorch, configurations."""

import pathlib

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
REFERENCES = ROOT / "references"
CONFIGS = ROOT / "configs"
