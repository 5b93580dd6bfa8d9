"""Packaging of maskclippp: tested versions are in constraints.txt, detectron2 is in third_party/ (see INSTALL.md)."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent

REQUIREMENTS = [
    "torch>=2.4",
    "torchvision",
    "open_clip_torch>=3",
    "timm",
    "fvcore",
    "iopath",
    "pycocotools",
    "wandb",
    "filelock",
    "huggingface_hub",
    "gdown",
    "safetensors",
    "scipy",
    "scikit-image",
    "matplotlib",
    "pillow>=10",
    "numpy",
    "pyyaml",
    "tqdm",
    "tensorboard",
    "opencv-python-headless",
    "regex",
    "ftfy",
]

EXTRAS = {
    "app": ["gradio"],
    "mess": ["mess-benchmark==0.2"],
    # LVIS has no extra: its package asks for a second OpenCV beside ours; pip install --no-deps lvis is all it takes.
    "cityscapes": ["cityscapesscripts"],
    "dev": ["pytest", "pytest-timeout", "ruff", "mypy", "hypothesis", "psutil", "transformers>=5"],
    "hf": ["transformers>=5"],
}


class BuildWithConfigs(build_py):
    """Puts configs/ of the repository into the package, as maskclippp/configs/, when a wheel is built."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / "configs", Path(self.build_lib, "maskclippp", "configs"), dirs_exist_ok=True)


def read_version() -> str:
    """The version stated in maskclippp/__init__.py, read without importing it."""
    text = (ROOT / "maskclippp" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, flags=re.MULTILINE).group(1)


setup(
    name="maskclippp",
    version=read_version(),
    description="MaskCLIP++: open-vocabulary segmentation by classifying masks with CLIP",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["maskclippp", "maskclippp.*"]),
    package_data={"maskclippp": ["assets/**/*", "data/vocabularies/*.tsv", "evaluation/*.tsv"]},
    install_requires=REQUIREMENTS,
    extras_require=EXTRAS,
    cmdclass={"build_py": BuildWithConfigs},
)
