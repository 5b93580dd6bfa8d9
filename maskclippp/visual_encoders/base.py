"""What every visual encoder does: make batches, encode them, put the results back in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maskclippp.structures import ImageBatch, ImageTransform, ResampledMasks, VisualOutput
from maskclippp.utils.errors import UserError
from maskclippp.utils.finetune import check_finetune_type


def common_options(node) -> dict[str, Any]:
    """Read the keys that all encoders share from a VISUAL_ENCODER config node."""

    def transform(prefix: str) -> ImageTransform:
        return ImageTransform(
            pixel_mean=tuple(node.PIXEL_MEAN),
            pixel_std=tuple(node.PIXEL_STD),
            resize_type=node[f"{prefix}RESIZE_TYPE"],
            size=node[f"{prefix}IMAGE_SIZE"],
            scale=node[f"{prefix}IMAGE_SCALE"],
            size_divisibility=node.SIZE_DIVISIBILITY,
        )

    return {
        "train_transform": transform(""),
        "test_transform": transform("TEST_"),
        "out_features": tuple(node.OUT_FEATURES),
        "feature_suffix": node.FEATURE_SUFFIX,
        "finetune_type": node.FINETUNE_TYPE,
        "grad_checkpointing": node.GRAD_CHECKPOINTING,
        "compiled": node.COMPILE,
    }


class VisualEncoder(nn.Module):
    """Base class: pictures and masks -> :class:`VisualOutput`.

    A subclass implements :meth:`encode` (one batch of equal padded size), :attr:`finetune_types`,
    :meth:`output_shape`, and ``from_config(cfg, whole)``, which gets its node and the whole config.

    Args:
        train_transform, test_transform: how pictures are made ready in training and in evaluation; a frozen encoder
            (``finetune_type`` "none") always uses the second.
        out_features: names of the features to return, without suffix; "m_embs" are the mask embeddings.
        feature_suffix: appended to the names of returned features (the frozen encoder's end in "_f").
        finetune_type: which parameters train; one of ``finetune_types``.
        grad_checkpointing: in training, keep no activations inside layers and compute them again for the gradient.
        compiled: run :meth:`encode` through ``torch.compile``; its backend needs Triton, or on a CPU a C++ compiler.
    """

    finetune_types: tuple[str, ...] = ("none",)

    def __init__(
        self,
        *,
        train_transform: ImageTransform,
        test_transform: ImageTransform,
        out_features: Sequence[str] = ("m_embs",),
        feature_suffix: str = "",
        finetune_type: str = "none",
        grad_checkpointing: bool = False,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        check_finetune_type(finetune_type, self.finetune_types, type(self).__name__)
        self.train_transform = train_transform
        self.test_transform = test_transform
        self.feature_suffix = feature_suffix
        self.out_features = tuple(name.removesuffix(feature_suffix) for name in out_features)
        self.finetune_type = finetune_type
        self.grad_checkpointing = grad_checkpointing
        self._encode = torch.compile(self.encode, dynamic=True) if compiled else self.encode

    @property
    def smallest_side(self) -> int:
        """Pixels that a padded picture needs along each side."""
        return 1

    @property
    def transform(self) -> ImageTransform:
        """The transform in force: the training one only while a tuned encoder trains."""
        training = self.training and self.finetune_type != "none"
        return self.train_transform if training else self.test_transform

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride by feature name (with suffix); "emb" + suffix is the CLIP embedding width."""
        raise NotImplementedError

    def encode(self, batch: ImageBatch) -> VisualOutput:
        """Encode one batch; features without suffix."""
        raise NotImplementedError

    def areas(self, batch: ImageBatch) -> list[Tensor]:
        """Return the areas that :meth:`encode` gives, from the masks and the canvas of a batch alone."""
        raise NotImplementedError(f"{type(self).__name__} gives no mask embeddings")

    @torch.no_grad()
    def mask_areas(self, images: list[Tensor], masks: Sequence[Tensor | ResampledMasks]) -> list[Tensor]:
        """Return the area of each mask on the patch grid, B tensors (Q,), without looking at the pictures.

        Args:
            images, masks: as for :meth:`forward`.
        """
        batches = self.transform([image[:0] for image in images], masks)
        return _restore(batches, [self.areas(batch) for batch in batches])

    def run_layer(self, layer: Callable[..., Any], *arguments: Any) -> Any:
        """Call a layer, with activation checkpointing if that is on."""
        if self.grad_checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(layer, *arguments, use_reentrant=False)
        return layer(*arguments)

    def forward(self, images: list[Tensor], masks: Sequence[Tensor | ResampledMasks] | None = None) -> VisualOutput:
        """Encode pictures of any sizes; the result of one does not depend on the others.

        Args:
            images: B tensors (3, H, W), RGB 0-255.
            masks: B tensors (Q, H', W') in [0, 1], or views of such, Q may be 0; None: no mask embeddings wanted.

        Raises:
            UserError: masks that do not belong to the images, or an image smaller than the encoder's stride.
        """
        batches = self.transform(images, masks)
        for batch in batches:
            if min(batch.pixels.shape[-2:]) < self.smallest_side:
                raise UserError(
                    f"image {batch.index[0]} is {batch.sizes[0][0]}x{batch.sizes[0][1]} when it reaches "
                    f"{type(self).__name__}, which needs {self.smallest_side} pixels a side; "
                    "raise TEST_IMAGE_SIZE (IMAGE_SIZE in training) or set SIZE_DIVISIBILITY"
                )
        outputs = [self._encode(batch) for batch in batches]
        restore = partial(_restore, batches)
        with_masks = masks is not None and all(output.mask_embeddings is not None for output in outputs)
        return VisualOutput(
            mask_embeddings=restore([output.mask_embeddings for output in outputs]) if with_masks else None,
            areas=restore([output.areas for output in outputs]) if with_masks else None,
            features={
                name + self.feature_suffix: restore([output.features[name] for output in outputs])
                for name in (outputs[0].features if outputs else ())
            },
        )


def _restore(batches: Sequence[ImageBatch], values: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Bring values of the pictures of each batch to the order of the pictures that these were made from."""
    by_index = {
        index: value
        for batch, members in zip(batches, values, strict=True)
        for index, value in zip(batch.index, members, strict=True)
    }
    return [by_index[index] for index in range(len(by_index))]
