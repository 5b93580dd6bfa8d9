"""The only reader of mask files: those of one image, and those of all images in one file."""

from __future__ import annotations

import logging
import posixpath
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from maskclippp.utils.errors import UserError, first_line, show
from maskclippp.utils.files import regular_file

from .annotations import ONE_CHANNEL, check_size, read_json, read_label_map, read_panoptic_ids
from .images import MAX_PIXELS, decode
from .instance_json import image_key
from .labelme import is_labelme, labelme_masks
from .names import NameIndex, own_names
from .run_length import decode_rle
from .segmentations import checked_segmentation, segmentation_mask

logger = logging.getLogger(__name__)

_MAX_MASK_ELEMENTS = 4_000_000_000
_MAX_NPY_BYTES = 1 << 30


def read_masks(path: str | Path, *, size_hw: tuple[int, int] | None = None) -> np.ndarray:
    """Read the masks of one image.

    ``.json`` is a list of ``{"segmentation": RLE or polygons}`` (as in COCO), one mask each in list order, or a dict
    with such a list as "annotations", as Segment Anything's data has it, or a file of labelme. ``.png`` (three
    channels: id = R + 256 G + 65536 B; or one channel) and ``.npy`` (2-D whole numbers) are maps in which every
    distinct value is a mask, in ascending order.

    Args:
        path: mask file.
        size_hw: size of the image; checked if given, and needed for an empty list.

    Returns:
        (Q, H, W) bool; Q may be 0.

    Raises:
        UserError: unknown suffix, unreadable file, wrong or differing sizes, empty list without ``size_hw``.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".json":
        found = read_json(path)
        if is_labelme(found):
            with _enough_memory(path):
                return _stacked(labelme_masks(found, path, size_hw), path, size_hw)
        return decode_masks(_entries(found, path), path, size_hw=size_hw)
    map_readers = {".png": _read_map_png, ".npy": _read_map_npy}
    if suffix not in map_readers:
        raise UserError(f"{path}: masks are read from .json, {', '.join(map_readers)}, not from '{suffix[:20]}'")
    id_map = map_readers[suffix](path)
    check_size(path, id_map.shape, size_hw)
    values = np.unique(id_map)
    _check_count(path, len(values), id_map.shape)
    with _enough_memory(path):
        return id_map[None] == values[:, None, None]  # (Q, H, W)


def decode_masks(
    entries: Sequence[Any],
    path: str | Path,
    *,
    size_hw: tuple[int, int] | None = None,
    indices: Sequence[int] | None = None,
) -> np.ndarray:
    """Decode the "segmentation" of each entry; ``indices`` are their places in the file, for messages.

    Entries whose polygons all have fewer than three points or an odd number of values are left out, and that is said.

    Returns:
        (Q, H, W) bool.

    Raises:
        UserError: no mask, a broken run-length encoding, wrong coordinates, wrong or differing sizes, no entries and no
            ``size_hw``, polygons and no ``size_hw``.
    """
    masks = None
    count = lacking = 0
    for number, entry in enumerate(entries):
        where = f"{path}, entry {number if indices is None else indices[number]}"
        mask, left_out = _decode(entry.get("segmentation") if isinstance(entry, dict) else None, size_hw, where)
        lacking += left_out
        if mask is None:
            continue
        size_hw = size_hw or mask.shape
        check_size(where, mask.shape, size_hw)
        if masks is None:
            _check_count(path, len(entries), size_hw)
            with _enough_memory(path):
                masks = np.empty((len(entries), size_hw[1], size_hw[0]), dtype=bool)  # run lengths go down the columns
        masks[count] = mask.T
        count += 1
    if lacking:
        logger.warning(
            "%s: left out %d polygons of fewer than three points or an odd number of values; %d of %d masks remain",
            path,
            lacking,
            count,
            len(entries),
        )
    return _stacked([], path, size_hw) if masks is None else masks[:count].transpose(0, 2, 1)


def _decode(shape: Any, size_hw: tuple[int, int] | None, where: str) -> tuple[np.ndarray | None, int]:
    """Return a mask (H, W) bool, None if no polygon can be drawn; and how many cannot."""
    if not isinstance(shape, list):
        return decode_rle(shape, where), 0
    if size_hw is None:
        raise UserError(f"{where}: polygons do not tell the size of the picture; give it")
    polygons, lacking = checked_segmentation(shape, size_hw, where)
    return segmentation_mask(polygons, size_hw, where) if polygons else None, lacking


def _stacked(masks: Sequence[np.ndarray], path: str | Path, size_hw: tuple[int, int] | None) -> np.ndarray:
    """(H, W) bool each -> (Q, H, W)."""
    if len(masks):
        _check_count(path, len(masks), masks[0].shape)
        return np.stack(masks)
    if size_hw is None:
        raise UserError(f"{path}: the list of masks is empty and the image size is not known; give the size")
    return np.zeros((0, *size_hw), dtype=bool)


@dataclass
class MaskTable:
    """Masks of all images of a dataset in one JSON file.

    Either a list of COCO results, ``{"image_id": ..., "segmentation": RLE or polygons, ...}`` or with "file_name"
    instead of "image_id", or a dict with such a list as "annotations" and perhaps the list "images" of
    ``{"id", "file_name"}``, as COCO's ground truth has them.
    Masks stay encoded until they are asked for.

    Attributes:
        path: the file.
        entries: all of them, in the order of the file.
        by_id: image id -> places in ``entries``; ids compare as numbers where they are numbers.
        by_name: file name -> places.
        is_complete: whether the file lists its images, so that an image that it does not name is a mistake.
    """

    path: Path
    entries: list[Any]
    by_id: dict[int | str, list[int]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[str, list[int]] = field(default_factory=dict)
    is_complete: bool = False
    _by_id: bool | None = None

    @classmethod
    def read(cls, path: str | Path) -> MaskTable:
        """Read and index a file.

        Raises:
            UserError: it is no such file, or an entry does not tell its image.
        """
        found = read_json(path)
        table = cls(Path(path), _entries(found, path))
        images = found.get("images") if isinstance(found, dict) else None
        table.is_complete = isinstance(images, list)
        if table.is_complete:
            table._list_images(images)
        for place, entry in enumerate(table.entries):
            table._add_entry(place, entry)
        return table

    @cached_property
    def _index(self) -> NameIndex:
        return NameIndex(self.by_name, str(self.path))

    def masks(self, record: dict[str, Any]) -> np.ndarray:
        """Return the masks of one record ("file_name", "height", "width", perhaps "image_id"), (Q, H, W) bool.

        Raises:
            UserError: broken or of another size; more than one image of that name; not among the images of the file.
        """
        places = self._find(record)
        if places is None:
            message = f"{record['file_name']}: no masks in {self.path}, neither by image_id nor by file name"
            if self.is_complete:
                raise UserError(f"{message}; make them for this image as well")
            logger.warning("%s; taken as an image without masks", message)
            places = []
        size_hw = (record["height"], record["width"])
        return decode_masks([self.entries[place] for place in places], self.path, size_hw=size_hw, indices=places)

    def _list_images(self, images: list[Any]) -> None:
        for index, image in enumerate(images):
            where = f"{self.path}, images[{index}]"
            if not isinstance(image, dict) or "id" not in image:
                raise UserError(f"{where}: it has no 'id'")
            key = _id(image["id"], where)
            if key in self.by_id:
                raise UserError(f"{where}: id {show(image['id'])} is that of an image before it; ids must differ")
            places, name = self.by_id[key], image.get("file_name")
            if isinstance(name, str) and self._add_name(name, places) is not places:
                raise UserError(f"{where}: its picture {show(name)} is that of an image before it; list it once")

    def _add_entry(self, place: int, entry: Any) -> None:
        where = f"{self.path}, entry {place}"
        if isinstance(entry, dict) and isinstance(entry.get("file_name"), str):
            self._add_name(entry["file_name"], []).append(place)
        elif isinstance(entry, dict) and entry.get("image_id") is not None:
            key = _id(entry["image_id"], where)
            if self.is_complete and key not in self.by_id:
                raise UserError(f"{where}: image_id {show(entry['image_id'])} is not among the images of the file")
            self.by_id[key].append(place)
        else:
            raise UserError(f"{where}: it has neither 'image_id' nor 'file_name'; whose mask is it?")

    def _add_name(self, name: str, places: list[int]) -> list[int]:
        return self.by_name.setdefault(posixpath.normpath(name), places)

    def _find(self, record: dict[str, Any]) -> list[int] | None:
        """Places of the masks of a record. Names come first: datasets number their images as they like."""
        name = self._index.find(record)
        if name is not None:
            return self.by_name[name]
        listed = record.get("image_id")
        keys = [_id(key, record["file_name"]) for key in (listed, *own_names(record)) if key is not None]
        key = next((key for key in keys if key in self.by_id), None)
        if key is None:
            return None
        if listed is not None and any(other != keys[0] for other in keys):
            self._note_numbering(record, by_id=key == keys[0])
        return self.by_id[key]

    def _note_numbering(self, record: dict[str, Any], *, by_id: bool) -> None:
        """Raise UserError if this picture is found by its id and another one by the number in its name, or the reverse.

        Then the ids are numbers of another list, and masks would go to the wrong pictures.
        """
        if self._by_id is not None and self._by_id != by_id:
            raise UserError(
                f"{record['file_name']}: {self.path} has masks for the image_id of some pictures, and for the number "
                "in the name of others; give it the ids of the dataset, or 'file_name' in place of 'image_id'"
            )
        self._by_id = by_id


def _entries(found: Any, path: str | Path) -> list[Any]:
    entries = found.get("annotations") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        kind = "dict without 'annotations'" if isinstance(found, dict) else type(entries).__name__
        raise UserError(f"{path}: expected a list of {{'segmentation': RLE or polygons}}, found {kind}")
    return entries


def _id(value: Any, where: str | PurePath) -> int | str:
    """One form for 139, 139.0, "139" and "000000000139"."""
    key = image_key(value)
    if key is None:
        raise UserError(f"{where}: {show(value)} is no id of an image; ids are whole numbers or text")
    return key


def _read_map_png(path: str | Path) -> np.ndarray:
    return read_label_map(path) if decode(path).mode in ONE_CHANNEL else read_panoptic_ids(path)


def _read_map_npy(path: str | Path) -> np.ndarray:
    regular_file(path, _MAX_NPY_BYTES)
    try:
        # Mapped, for a header may claim any shape: so it is compared with the file before room is made.
        id_map = np.load(path, mmap_mode="r", allow_pickle=False)
    # A damaged header is met with errors of many kinds.
    except Exception as error:
        raise UserError(f"{path}: cannot be read as a NumPy array: {first_line(error)}") from None
    if not isinstance(id_map, np.ndarray):
        id_map.close()
        raise UserError(f"{path}: this is an archive of arrays (.npz); save the one array with numpy.save")
    if id_map.ndim != 2 or not (np.issubdtype(id_map.dtype, np.integer) or id_map.dtype == bool):
        raise UserError(f"{path}: expected a 2-D array of whole numbers, found shape {id_map.shape} of {id_map.dtype}")
    if id_map.size > MAX_PIXELS:
        raise UserError(f"{path}: {id_map.shape[0]}x{id_map.shape[1]} pixels, at most {MAX_PIXELS} are read")
    return np.array(id_map)


@contextmanager
def _enough_memory(path: str | Path) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise UserError(f"{path}: its masks do not fit into memory; is this a label map?") from None


def _check_count(path: str | Path, count: int, size_hw: tuple[int, ...]) -> None:
    if count * size_hw[0] * size_hw[1] > _MAX_MASK_ELEMENTS:
        raise UserError(f"{path}: {count} masks of {size_hw[0]}x{size_hw[1]} are too many; is this a label map?")
