"""Sentence templates that class names are put into; ``{}`` stands for the name."""

from __future__ import annotations

from open_clip import OPENAI_IMAGENET_TEMPLATES

from maskclippp.utils.errors import UserError, did_you_mean

_SIZES = ("small", "medium", "large")

TEMPLATES: dict[str, tuple[str, ...]] = {
    "t1": ("a photo of a {}.",),
    "t14": (
        "a photo of a {}.",
        "This is a photo of a {}",
        "There is a {} in the scene",
        "There is the {} in the scene",
        "a photo of a {} in the scene",
        *(f"a photo of a {size} {{}}." for size in _SIZES),
        *(f"This is a photo of a {size} {{}}." for size in _SIZES),
        *(f"There is a {size} {{}} in the scene." for size in _SIZES),
    ),
    "t80": tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES),
}


def get_templates(name: str) -> tuple[str, ...]:
    """Return the templates called ``name``.

    Raises:
        UserError: there are none of that name.
    """
    if name not in TEMPLATES:
        raise UserError(f"no templates are called '{name}'{did_you_mean(name, TEMPLATES)}")
    return TEMPLATES[name]
