"""The file that describes a dataset of your own: which keys it may have, what they must be, where they stand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from maskclippp.config.safe_yaml import Setting, read_settings
from maskclippp.utils.errors import UserError, did_you_mean, show

from ..layouts import files_below
from .listing import IMAGE_SUFFIXES

PATHS = ("images", "labels", "instances", "panoptic", "segments")
FOLDERS = ("images", "labels", "segments")
KEYS = (*PATHS, "classes", "ignore_label", "image_ext", "label_ext", "evaluator")
MAX_LABEL = 65535
MAX_ID_DIGITS = 18


class DatasetFile:
    """The settings of one file, and where each stands.

    Attributes:
        name: as it was asked for.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        path = Path(os.path.expanduser(name))
        if not os.path.isfile(path):
            raise UserError(f"there is no dataset file {name}; a dataset name that ends in {path.suffix} is one")
        self._folder = path.resolve().parent
        self._settings: dict[str, Setting] = {}
        self._entries: dict[str, Setting] = {}
        for setting in read_settings(path):
            key, _, below = setting.key.partition(".")
            if key not in KEYS:
                raise UserError(f"{setting.where}: unknown key '{key}'{did_you_mean(key, KEYS)}")
            if below and key != "classes":
                raise UserError(f"{setting.where}: {key} takes one value, not a section")
            (self._entries if below else self._settings)[below or key] = setting

    def kind(self) -> str:
        """What the dataset is."""
        if "images" not in self._settings:
            raise UserError(f"{self.name}: images is missing; name the folder of the pictures")
        if "panoptic" in self._settings:
            return "panoptic"
        if "segments" in self._settings:
            raise UserError(f"{self.where('segments')}: segments is the folder of a panoptic file; name it in panoptic")
        found = [key for key in ("labels", "instances") if key in self._settings]
        if not found and "classes" not in self._settings and not self._entries:
            raise UserError(
                f"{self.name}: there are neither annotations nor classes; name one of labels, instances and panoptic, "
                "or the classes to look for"
            )
        if len(found) > 1:
            raise UserError(
                f"{self.name}: labels and instances are two datasets; name one of labels, instances and panoptic"
            )
        return {"labels": "sem_seg", "instances": "instance"}[found[0]] if found else "images"

    def where(self, key: str) -> str:
        """Return ``FILE:LINE`` of a key that is there."""
        return self._settings[key].where

    def text(self, key: str) -> str:
        """Return a text, "" if there is none."""
        value = self.value(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise UserError(f"{self.where(key)}: {key} must be a text, not {show(value)}")
        return value or ""

    def number(self, key: str) -> int | None:
        """Return a label value, None if there is none."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_LABEL:
            raise UserError(f"{self.where(key)}: {key} must be a whole number from 0 to {MAX_LABEL}, not {show(value)}")
        return value

    def path(self, key: str) -> str:
        """Return an absolute path, "" if there is none. A folder need not be there, but must not be a file."""
        text = self.text(key)
        path = str(self._folder / os.path.expanduser(text)) if text else ""
        if key in FOLDERS and os.path.exists(path) and not os.path.isdir(path):
            raise UserError(f"{self.where(key)}: {key} must be a folder, {path} is none")
        return path

    def found_suffix(self, key: str, default: str) -> str:
        """Return the suffix, without its point, that the pictures of a folder share."""
        folder = self.path(key)
        if not folder or not os.path.isdir(folder):
            return default
        others = [Path(self.path(other)) for other in ("images", "labels") if other != key and self.path(other)]
        suffixes: set[str] = set()
        for into_folders in (False, True):
            names = files_below(folder, into_folders=into_folders, without=others)
            suffixes = suffixes or {Path(name).suffix for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES}
        found = ", ".join(sorted(suffixes))
        if len(suffixes) > 1:  # small or capital letters are one sort
            suffixes = {suffix.lower() for suffix in suffixes}
        if len(suffixes) > 1:
            option = "label_ext" if key == "labels" else "image_ext"
            raise UserError(f"{self.where(key)}: {folder} holds {found} files; say in {option} which ones count")
        return suffixes.pop().removeprefix(".") if suffixes else default

    def value(self, key: str) -> Any:
        """Return what the file says, None if nothing."""
        setting = self._settings.get(key)
        return None if setting is None else setting.value

    def class_ids(self) -> dict[int, str]:
        """Return the class entries by id, as a section of the file has them; empty if it has none."""
        entries = {}
        for key, setting in self._entries.items():
            if not key.isdecimal() or len(key) > MAX_ID_DIGITS:
                raise UserError(f"{setting.where}: classes: {show(key)} is no id; write 'ID: name, synonym'")
            entries[int(key)] = setting.value
        return entries
