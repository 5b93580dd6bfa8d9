"""The edits that let detectron2 0.6 run on current Python, NumPy, Pillow and setuptools without a compiler."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.6+pure1"


class EditError(Exception):
    """An edit does not fit the source it was written for."""


@dataclass(frozen=True)
class Edit:
    """One regular-expression replacement (multi-line mode) in one file, expected to match exactly `count` times."""

    path: str
    pattern: str
    replacement: str
    count: int = 1

    def apply(self, root: Path) -> None:
        """Rewrite the file below `root`; raises EditError when it is missing or the number of matches differs."""
        file = root / self.path
        if not file.is_file():
            raise EditError(f"{self.path}: no such file in the source; this list of edits belongs to another version")
        text, found = re.subn(self.pattern, self.replacement, file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if found != self.count:
            raise EditError(
                f"{self.path}: the edit {self.pattern!r} matches {found} times, expected {self.count}; "
                "this list of edits belongs to another version of the source"
            )
        file.write_text(text, encoding="utf-8")


def apply_edits(root: Path, edits: Iterable[Edit]) -> None:
    """Apply all edits below `root` in order."""
    for edit in edits:
        edit.apply(root)


# The compiled extension is optional: what needs it fails when it is called, not when it is imported.
_IMPORT_EXTENSION = r"^from detectron2 import _C$"
_TRY_EXTENSION = "try:\n    from detectron2 import _C\nexcept ImportError:\n    _C = None"

EDITS = (
    # The version tells this build from the official one; setup.py reads it from here.
    Edit("detectron2/__init__.py", r'^__version__ = "0\.6"$', f'__version__ = "{VERSION}"'),
    # Pillow 10 dropped the old name of bilinear interpolation.
    Edit("detectron2/data/transforms/transform.py", r"\bImage\.LINEAR\b", "Image.BILINEAR"),
    # NumPy 1.24 dropped its aliases of Python's own types (bool is back since NumPy 2).
    Edit("detectron2/evaluation/sem_seg_evaluation.py", r"\bnp\.(int|float)\b", r"\1", count=7),
    Edit("detectron2/data/build.py", r"\bnp\.int\b", "int", count=2),
    Edit("detectron2/data/datasets/pascal_voc.py", r"\bnp\.str\b", "str"),
    Edit("detectron2/evaluation/pascal_voc_evaluation.py", r"\bnp\.bool\b", "bool", count=2),
    Edit("detectron2/structures/masks.py", r"\bnp\.bool\b", "bool", count=3),
    Edit("detectron2/utils/visualizer.py", r"\bnp\.bool\b", "bool", count=3),
    Edit("detectron2/utils/video_visualizer.py", r"\bnp\.bool\b", "bool"),
    # Python 3.11 no longer samples from a set; sorting keeps the choice independent of the set's layout.
    Edit(
        "detectron2/data/common.py",
        r"\.sample\(self\._fallback_candidates, k=1\)",
        ".sample(sorted(self._fallback_candidates), k=1)",
    ),
    Edit("detectron2/layers/deform_conv.py", _IMPORT_EXTENSION, _TRY_EXTENSION),
    Edit("detectron2/layers/roi_align_rotated.py", _IMPORT_EXTENSION, _TRY_EXTENSION),
    Edit("detectron2/layers/rotated_boxes.py", _IMPORT_EXTENSION, _TRY_EXTENSION),
    Edit("detectron2/evaluation/fast_eval_api.py", _IMPORT_EXTENSION, _TRY_EXTENSION),
    # Without the extension the fast COCO evaluation is pycocotools' own, which gives the same numbers.
    Edit("detectron2/evaluation/fast_eval_api.py", r"\n\Z", "\n\n\nif _C is None:\n    COCOeval_opt = COCOeval\n"),
    # New setuptools ship without pkg_resources.
    Edit("detectron2/model_zoo/model_zoo.py", r"^import pkg_resources\n", ""),
    Edit(
        "detectron2/model_zoo/model_zoo.py",
        r'pkg_resources\.resource_filename\(\s+"detectron2\.model_zoo", (os\.path\.join\("configs", \w+\))\s+\)',
        r"os.path.join(os.path.dirname(os.path.abspath(__file__)), \1)",
    ),
    # The name under which everybody asks for it.
    Edit("setup.py", r'name="pb1-detectron2"', 'name="detectron2"'),
    # No extension, hence neither torch nor its build command while building.
    Edit("setup.py", r"^import torch\nfrom torch\.utils\.cpp_extension import .*\n", ""),
    Edit("setup.py", r"^torch_ver = .*\nassert torch_ver .*\n", ""),
    Edit("setup.py", r"^    ext_modules=get_extensions\(\),\n    cmdclass=.*\n", ""),
    # The sdist holds the model zoo's configs in the package already.
    Edit("setup.py", r"get_model_zoo_configs\(\)\},", '["configs/**/*.yaml", "configs/**/*.py"]},'),
    # Pins of 2021, a package for Python 2, and an extra that names a URL, which indexes refuse.
    Edit("setup.py", r'"black==21\.4b2"', '"black"'),
    Edit("setup.py", r'"iopath>=0\.1\.7,<0\.1\.10"', '"iopath>=0.1.7"'),
    Edit("setup.py", r'^ +"future",.*\n', ""),
    Edit("setup.py", r'^ +"panopticapi @ .*\n', ""),
)
