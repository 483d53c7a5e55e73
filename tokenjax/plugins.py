"""Modules of a user's own, which register models, sources, routers and the like.

`--import my_module` and `--import path/to/file.py` name them; what is installed is
found by the entry-point group `tokenjax`:

    [project.entry-points.tokenjax]
    my_models = "my_package.models"
"""

import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import pathlib
import sys
from collections.abc import Iterable, Sequence

from absl import flags

from tokenjax import user_code
from tokenjax.errors import UserError, shown

FLAG = "import"
GROUP = "tokenjax"
_IMPORTED: list[str] = []  # what --import has named, in this process


def define_flag(values: flags.FlagValues) -> None:
    """Define --import, which may be given several times."""
    flags.DEFINE_multi_string(
        FLAG,
        [],
        "your module, or file.py, that registers models, data sources, routers, ...",
        flag_values=values,
    )


def named_in(argv: Sequence[str]) -> list[str]:
    """Return what --import names in a command line, before its other flags are known.

    Raises: UserError.
    """
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    define_flag(values)
    try:
        values(list(argv), known_only=True)
    except flags.Error as error:
        raise UserError(str(error)) from error
    return list(values[FLAG].value or [])


def import_modules(names: Iterable[str]) -> None:
    """Import modules by their dotted names, and files by paths that end in .py.

    Raises: UserError with the module and the line, whatever goes wrong in it.
    """
    for name in names:
        if name.endswith(".py"):
            _import_file(name)
        else:
            _import_module(name)
        if name not in _IMPORTED:
            _IMPORTED.append(name)


def imported() -> tuple[str, ...]:
    """Return what --import has named in this process."""
    return tuple(_IMPORTED)


@functools.cache
def load_installed() -> None:
    """Import all installed plugins, once; one that fails is a line on stderr."""
    for plugin in importlib.metadata.entry_points(group=GROUP):
        try:
            plugin.load()
        except (Exception, SystemExit) as error:
            reason = user_code.told(error, "")
            print(
                f"warning: the plugin {plugin.name} ({plugin.value}) is left out: "
                f"{reason}",
                file=sys.stderr,
            )


def _import_module(name: str) -> None:
    """Import a module that lies here or is installed."""
    if not all(part.isidentifier() for part in name.split(".")):
        raise UserError(
            f"--{FLAG} {shown(name)}: give a module (my_package.models) or a file that "
            "ends in .py"
        )
    with user_code.searched_first("."):
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:
            if isinstance(error, ModuleNotFoundError) and _is_parent(error.name, name):
                reason = "no such module here or among the installed ones"
            else:
                reason = user_code.told(error, _file_of(name))
            raise UserError(f"--{FLAG} {name}: {reason}") from error


def _is_parent(missing: str | None, name: str) -> bool:
    return missing is not None and f"{name}.".startswith(f"{missing}.")


def _file_of(name: str) -> str:
    """Return the file that a dotted name stands for, "" if that cannot be found out."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:  # the package above it is what failed
        return ""
    return (spec.origin or "") if spec else ""


def _import_file(name: str) -> None:
    """Run a file as the module of its name, once per process."""
    path = pathlib.Path(name).resolve()
    if not path.is_file():
        raise UserError(f"--{FLAG}: no file {shown(name)}")
    with user_code.searched_first(path.parent):
        module_name = _module_name(path)
        if module_name in sys.modules:
            return
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None  # of a path that ends in .py
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[module_name]
            reason = user_code.told(error, str(path))
            raise UserError(f"--{FLAG} {shown(name)}: {reason}") from error


def _module_name(path: pathlib.Path) -> str:
    """Return "my_model" for my_model.py, so that `import my_model` finds it again.

    Where another module has that name already, the file gets one that none has.
    """
    installed = importlib.machinery.PathFinder.find_spec(path.stem, sys.path[1:])
    taken = sys.modules.get(path.stem) or installed
    file = getattr(taken, "__file__", None) or getattr(taken, "origin", None)
    if path.stem.isidentifier() and (taken is None or file == str(path)):
        return path.stem
    return f"_imported_{path.parent}/{path.stem}".replace(".", "_")
