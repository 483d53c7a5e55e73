"""Which processes another one began, on Linux; elsewhere none is known."""

import pathlib

PROCESSES = pathlib.Path("/proc")


def descendants(process: int) -> list[int]:
    """Return the numbers of all that a process began, and these in turn."""
    parents = {}
    for path in PROCESSES.glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold spaces; the parent is after the state.
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        parents[int(path.parent.name)] = int(fields[1])
    found, new = [], [process]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found
