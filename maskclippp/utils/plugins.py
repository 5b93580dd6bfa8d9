"""Code of one's own, imported before anything is built, so that it can register parts."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from .errors import UserError, first_line

_FILES: dict[str, None] = {}


def plugin_files() -> list[str]:
    """Return the files of the plug-ins that were imported in this process."""
    return list(_FILES)


def load_plugins(names: Iterable[str]) -> list[ModuleType]:
    """Import plug-ins, each once in a process. Only the command line names them; no file that is read does.

    Args:
        names: each the path of a Python file, ending in ``.py``, or the dotted name of a module that can be imported.

    Raises:
        UserError: there is no such file or module, or it fails while it is imported; names the line.
    """
    return [_load(name) for name in names]


def _load(name: str) -> ModuleType:
    is_file = name.endswith(".py")
    path = Path(name).expanduser().resolve()
    if is_file and not path.is_file():
        raise UserError(f"--plugin {name}: there is no such file")
    try:
        module = _load_file(path) if is_file else importlib.import_module(name)
    except UserError as error:
        raise UserError(f"--plugin {name}: {error}") from error
    # Whatever is wrong in it, also a call of sys.exit, which would end the run without a word.
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise UserError(
                f"--plugin {name}: there is no such module; name a file that ends in .py, or a module that python "
                "can import"
            ) from None
        raise UserError(f"--plugin {name}{_line(error, path)}: {type(error).__name__}: {first_line(error)}") from error
    if module.__file__:
        _FILES[module.__file__] = None
    return module


def _load_file(path: Path) -> ModuleType:
    name = f"maskclippp_plugin_{path.stem}_{hashlib.blake2b(str(path).encode(), digest_size=4).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the file it happened, as far as known."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
