"""The weight files of the published configs: where each goes and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CHECKPOINTS = Path("output/ckpts")
_MODEL_ZOO = "https://dl.fbaipublicfiles.com/maskformer/mask2former/coco/panoptic"
_BYTES_PER_WEIGHT = 4


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One file.

    Attributes:
        name: what it is asked for by.
        kind: an open_clip model, a mask generator, a model tuned by MaskCLIP++, or a backbone trained on ImageNet.
        place: where it goes, relative to the working folder; of an open_clip model, where a copy made by hand goes.
        note: whose it is.
        clip: of an open_clip model, the architecture and the tag.
        url: web address.
        drive_id: id on Google Drive.
        hash_prefix: first hexadecimal digits of its MD5 or SHA-256 (all, where its publisher tells them), as they stand
            in the name.
        about_bytes: size estimated from the published key list in float32; None: unknown.
    """

    name: str
    kind: Literal["clip", "generator", "tuned", "backbone"]
    place: Path
    note: str
    clip: tuple[str, str] | None = None
    url: str = ""
    drive_id: str = ""
    hash_prefix: str = ""
    about_bytes: int | None = None

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.clip:
            return "from the Hugging Face hub, as open_clip names it"
        if self.drive_id:
            return f"from Google Drive, file {self.drive_id}"
        return f"from {self.url}" if self.url else "by hand, from their page"


def clip_place(model: str, tag: str) -> Path:
    """Return where a copy of an open_clip model's weights that was made by hand is looked for."""
    return CHECKPOINTS / "clip" / f"{model}-{tag.lower().replace('-', '_')}.safetensors"


def known_file(path: str | Path) -> WeightFile | None:
    """Return the file that a path of a config means; only its last part counts, so that another folder is fine."""
    return next((file for file in KNOWN.values() if file.kind != "clip" and file.place.name == Path(path).name), None)


def _clip(model: str, tag: str, note: str) -> WeightFile:
    return WeightFile(name=f"{model}/{tag}", kind="clip", place=clip_place(model, tag), note=note, clip=(model, tag))


def _on_drive(place: str, drive_id: str, weights: int, note: str) -> WeightFile:
    path, about = CHECKPOINTS / place, weights * _BYTES_PER_WEIGHT
    return WeightFile(name=path.name, kind="generator", place=path, note=note, drive_id=drive_id, about_bytes=about)


def _mask2former(config: str, hash_prefix: str, weights: int) -> WeightFile:
    name = f"{config}_final_{hash_prefix}.pkl"
    return WeightFile(
        name=name,
        kind="generator",
        place=CHECKPOINTS / "mask2former/coco/pan" / name,
        note="Mask2Former model zoo, CC BY-NC 4.0",
        url=f"{_MODEL_ZOO}/{config}/model_final_{hash_prefix}.pkl",
        hash_prefix=hash_prefix,
        about_bytes=weights * _BYTES_PER_WEIGHT,
    )


def _backbone(url: str, weights: int, note: str) -> WeightFile:
    place, about = CHECKPOINTS / "imagenet" / url.rpartition("/")[2], weights * _BYTES_PER_WEIGHT
    return WeightFile(name=place.name, kind="backbone", place=place, note=note, url=url, about_bytes=about)


def _tuned(config: str, weights: int) -> WeightFile:
    place, about = CHECKPOINTS / "maskclippp" / f"maskclippp_{config}.pth", weights * _BYTES_PER_WEIGHT
    return WeightFile(name=place.name, kind="tuned", place=place, note="MaskCLIP++ authors", about_bytes=about)


# The numbers of weights are those of the published key lists.
_FILES = (
    _clip("EVA02-L-14-336", "merged2b_s6b_b61k", "EVA-CLIP authors"),
    _clip("EVA02-B-16", "merged2b_s8b_b131k", "EVA-CLIP authors"),
    _clip("EVA01-g-14-plus", "merged2b_s11b_b114k", "EVA-CLIP authors"),
    _clip("convnext_base_w_320", "laion_aesthetic_s13b_b82k_augreg", "LAION"),
    _clip("convnext_large_d_320", "laion2b_s29b_b131k_ft_soup", "LAION"),
    _clip("convnext_xxlarge", "laion2b_s34b_b82k_augreg_soup", "LAION"),
    _clip("RN50x16", "openai", "OpenAI"),
    _on_drive(
        "fcclip/fcclip_coco-pan_clip-convnext-base.pth",
        "1fSFPPTwxF-ekMxAmIo01ssdbC79wwwml",
        199828296,
        "FC-CLIP, trained by the MaskCLIP++ authors",
    ),
    _on_drive(
        "fcclip/fcclip_coco-pan_clip-convnext-large.pth",
        "1-91PIns86vyNaL3CzMmDD39zKGnPMtvj",
        372494344,
        "FC-CLIP authors",
    ),
    _on_drive("maftp/maftp_b.pth", "1BeEeKOnWWIWIH-QWK_zLhAPUzCOnHuFG", 381189359, "MAFT+ authors"),
    _on_drive("maftp/maftp_l.pth", "1EQo5guVuKkSSZj4bv0FQN_4X9h_Rwfe5", 727144687, "MAFT+ authors"),
    _on_drive("maftp/maftp_l_pano.pth", "1znk_uco8fwvbA0kndy4kGyVp22KbQr6g", 727144649, "MAFT+ authors"),
    _mask2former("maskformer2_swin_tiny_bs16_50ep", "9fd0ae", 47464210),
    _mask2former("maskformer2_swin_large_IN21k_384_bs16_100ep", "f07440", 216033408),
    _backbone(
        "https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/torchvision/R-50.pkl",
        25557032,
        "torchvision's ResNet-50 as detectron2 names it",
    ),
    _backbone(
        "https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth",
        28288354,
        "Swin Transformer authors, MIT",
    ),
    _tuned("coco-stuff_eva-clip-vit-l-14-336_wtext", 428085490),
    _tuned("coco-stuff_clip-convnext-base", 90273664),
    _tuned("coco-pan_clip-rn50x16", 167535296),
    _tuned("coco-pan_clip-convnext-base", 90273664),
    _tuned("coco-pan_clip-convnext-large", 202724544),
    _tuned("coco-pan_clip-convnext-xxlarge", 851792768),
    _tuned("coco-pan_eva-clip-vit-b-16", 86275365),
    _tuned("coco-pan_eva-clip-vit-l-14-336", 304445169),
    _tuned("coco-pan_eva-clip-vit-g-14-plus", 1012601265),
)
KNOWN: dict[str, WeightFile] = {file.name: file for file in _FILES}
"""All known files by name."""
