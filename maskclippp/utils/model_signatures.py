"""Which known model a file of weights looks like, for messages about a checkpoint that does not fit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

# A key ending, its shape (None: any) and the model that has them; the first row that fits counts.
_SIGNATURES: tuple[tuple[str, tuple[int, ...] | None, str], ...] = (
    ("backbone_t.clip_model.logit_scale", None, "MAFT+ (a mask generator)"),
    ("void_embedding.weight", None, "FC-CLIP (a mask generator)"),
    ("sem_seg_head.predictor.query_feat.weight", None, "Mask2Former (a mask generator)"),
    ("visual_encoder.proxy.pos_embed", (1, 197, 768), "MaskCLIP++ with EVA02-B-16"),
    ("visual_encoder.proxy.pos_embed", (1, 577, 1024), "MaskCLIP++ with EVA02-L-14-336"),
    ("visual_encoder.proxy.pos_embed", (1, 257, 1024), "MaskCLIP++ with EVA02-L-14"),
    ("visual_encoder.proxy.pos_embed", (1, 257, 1408), "MaskCLIP++ with EVA01-g-14 or -g-14-plus"),
    ("visual_encoder.proxy.pos_embed", (1, 257, 1792), "MaskCLIP++ with EVA02-E-14-plus"),
    ("visual_encoder.proxy.trunk.stem.0.bias", (128,), "MaskCLIP++ with convnext_base_w"),
    ("visual_encoder.proxy.trunk.stem.0.bias", (192,), "MaskCLIP++ with convnext_large_d"),
    ("visual_encoder.proxy.trunk.stem.0.bias", (384,), "MaskCLIP++ with convnext_xxlarge"),
    ("visual_encoder.proxy.attnpool.positional_embedding", (145, 3072), "MaskCLIP++ with RN50x16"),
    ("visual_encoder.proxy.attnpool.positional_embedding", None, "MaskCLIP++ with a CLIP ResNet"),
    ("visual_encoder.proxy.positional_embedding", None, "MaskCLIP++ with a CLIP ViT of another size"),
    ("visual.conv1.weight", None, "a plain CLIP (set PRETRAINED to it instead)"),
    ("visual.trunk.stem.0.weight", None, "a plain CLIP ConvNeXt (set PRETRAINED to it instead)"),
    ("visual.trunk.pos_embed", None, "a plain EVA-CLIP (set PRETRAINED to it instead)"),
    ("text_projection", None, "a plain CLIP (set PRETRAINED to it instead)"),
)


def looks_like(weights: Mapping[str, Tensor]) -> str | None:
    """Return a description of the known model whose key and shape are among ``weights``; None: nothing known."""
    for ending, shape, model in _SIGNATURES:
        for key, value in weights.items():
            if key.endswith(ending) and (shape is None or tuple(value.shape) == shape):
                return model
    return None
