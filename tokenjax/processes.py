"""Commands of the library as processes of their own.

They are run by the interpreter that runs this one and need nothing but the installed
package: no checkout, no script of it.
"""

import sys


def train_command() -> list[str]:
    """Return the command that trains, to which its flags are added."""
    return [sys.executable, "-m", "tokenjax", "train"]
