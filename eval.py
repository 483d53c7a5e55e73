"""`tokenjax eval` of a checkout; `python eval.py --help` shows examples and flags."""

from tokenjax import command_line

if __name__ == "__main__":
    command_line.run("eval")
