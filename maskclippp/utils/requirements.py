"""What must be installed besides the packages that pip brings by itself."""

from __future__ import annotations

from importlib.util import find_spec


def require_detectron2() -> None:
    """Raise ImportError, saying how to install it, where detectron2 is missing; it is not imported here."""
    if find_spec("detectron2") is None:
        raise ImportError(
            "detectron2 is missing, and pip cannot bring it by name: run `make setup`, "
            "or `pip install --no-build-isolation ./third_party/detectron2` in the repository (see INSTALL.md)"
        )
