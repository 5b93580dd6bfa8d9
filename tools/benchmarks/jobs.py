"""What is measured: each job is built in two variants, "ours" and "naive", with the same weights and inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from detectron2.structures import Instances
from torch import Tensor

from maskclippp.criteria.mask_cross_entropy import ReweightCELoss
from maskclippp.data.vocabularies.templates import get_templates
from maskclippp.mask_generators import NoGenerator
from maskclippp.methods import MaskCLIPpp
from maskclippp.similarity.psm import LinearPSM
from maskclippp.structures import ImageTransform
from maskclippp.text_encoders import TextClassifier
from maskclippp.text_encoders.open_clip_text import CLIPTextEncoder
from maskclippp.utils.open_clip_models import create_clip, create_tokenizer
from maskclippp.visual_encoders.mask_policies import SoftBias
from maskclippp.visual_encoders.token_encoder import TokenEncoder
from maskclippp.visual_encoders.towers import CLIPTower, EVATower

from .deformable import deform_attn
from .evaluation import evaluate
from .naive import OneAttention, PaddedTextEncoder
from .postprocess import mask_chain, postprocess
from .settings import Run, Settings


def build(job: str, variant: str, settings: Settings) -> Run:
    """Return a function that does the job once and returns what both variants must agree on."""
    torch.manual_seed(0)
    return JOBS[job](variant, settings)


def mask_embed(variant: str, settings: Settings) -> Run:
    """Mask embeddings of a batch, without gradients."""
    encoder = _visual_encoder(variant, settings).to(settings.device).eval()
    images, masks, _ = _inputs(settings)

    def run() -> dict[str, Tensor]:
        with torch.no_grad(), settings.autocast():
            return {"mask embeddings": torch.cat(encoder(images, masks).mask_embeddings)}

    return run


def mask_cost(variant: str, settings: Settings) -> Run:
    """Our mask embeddings against the image embedding of plain CLIP; both also show a map, on which they must agree."""
    encoder = _visual_encoder("ours", settings).to(settings.device).eval()
    common = f"block{encoder.num_blocks - 1}"
    encoder.out_features = ("m_embs", common) if variant == "ours" else ("i_embs", common)
    images, masks, _ = _inputs(settings)

    def run() -> dict[str, Tensor]:
        with torch.no_grad(), settings.autocast():
            return {common: torch.stack(encoder(images, masks if variant == "ours" else None).features[common])}

    return run


def text(variant: str, settings: Settings) -> Run:
    """Embeddings of a vocabulary, without gradients."""
    classifier = TextClassifier(
        _text_encoder(variant, settings).to(settings.device).eval(), get_templates(settings.templates)
    )

    def run() -> dict[str, Tensor]:
        with torch.no_grad(), settings.autocast():
            return {"text embeddings": classifier.embed(settings.class_names)}

    return run


def train_step(variant: str, settings: Settings) -> Run:
    """A training step with tuned attention in both towers: losses, gradients, clipping, AdamW."""
    model = _model(variant, settings).to(settings.device).train()
    images, masks, labels = _inputs(settings)
    size = (settings.image_size, settings.image_size)
    records = [
        {"image": image, "instances": Instances(size, gt_masks=picture, gt_classes=classes)}
        for image, picture, classes in zip(images, masks, labels, strict=True)
    ]
    tuned = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(tuned.values(), lr=1e-5)

    def run() -> dict[str, Tensor]:
        optimizer.zero_grad()
        with settings.autocast():
            losses = model(records)
        sum(losses.values()).backward()
        results = {name: loss.detach() for name, loss in losses.items()}
        results["gradient norms"] = torch.stack([p.grad.norm() for p in tuned.values() if p.grad is not None])
        torch.nn.utils.clip_grad_norm_(tuned.values(), 0.01)
        optimizer.step()
        return results

    return run


JOBS: dict[str, Callable[[str, Settings], Run]] = {
    "mask-embed": mask_embed,
    "mask-cost": mask_cost,
    "text": text,
    "train-step": train_step,
    "postprocess": postprocess,
    "mask-chain": mask_chain,
    "deform-attn": deform_attn,
    "evaluate": evaluate,
}


def _inputs(settings: Settings) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Noise pictures, rectangular masks with their labels."""
    generator = torch.Generator().manual_seed(1)
    side, count = settings.image_size, settings.batch
    images = [torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8) for _ in range(count)]
    labels = [torch.randint(0, settings.classes, (settings.masks,), generator=generator) for _ in range(count)]
    corners = torch.rand(count, settings.masks, 2, generator=generator) * 0.6
    extents = torch.rand(count, settings.masks, 2, generator=generator) * 0.3 + 0.1
    steps = (torch.arange(side) + 0.5) / side
    inside = (steps > corners[..., None]) & (steps < (corners + extents)[..., None])  # (B, Q, 2, side)
    masks = inside[:, :, 0, :, None] & inside[:, :, 1, None, :]
    device = settings.device
    return [i.to(device) for i in images], list(masks.float().to(device)), [x.to(device) for x in labels]


def _visual_encoder(variant: str, settings: Settings) -> TokenEncoder:
    visual = create_clip(settings.model_name).visual
    tower = EVATower(visual.trunk) if settings.is_eva else CLIPTower(visual)
    policy = SoftBias(
        num_heads=tower.num_heads,
        num_layers=settings.blocks_with_masks,
        first_block=len(tower.blocks) - settings.blocks_with_masks + 1,
        mask_logit_scale=-5.0,
        learnable_mask_logit_scale=True,
    )
    transform = ImageTransform((127.5, 127.5, 127.5), (64.0, 64.0, 64.0))
    return {"ours": TokenEncoder, "naive": OneAttention}[variant](
        tower=tower, policy=policy, train_transform=transform, test_transform=transform, finetune_type="attention"
    )


def _text_encoder(variant: str, settings: Settings) -> CLIPTextEncoder:
    clip = create_clip(settings.model_name)
    return (CLIPTextEncoder if variant == "ours" else PaddedTextEncoder)(
        tower=clip.text,
        logit_scale=clip.logit_scale,
        tokenizer=create_tokenizer(settings.model_name),
        finetune_type="attention" if settings.text == "tuned" else "none",
    )


def _model(variant: str, settings: Settings) -> MaskCLIPpp:
    templates = list(get_templates(settings.templates))
    return MaskCLIPpp(
        visual_encoder=_visual_encoder(variant, settings),
        visual_encoder_f=None,
        text_encoder=_text_encoder(variant, settings),
        generator=NoGenerator("a benchmark of training"),
        psm=LinearPSM(num_templates=len(templates), width=768),
        criterion=ReweightCELoss(balance_classes=True, ignore_empty=True),
        use_logit_scale=True,
        templates=templates,
        text_chunk_size=512,
        train_names=tuple((name,) for name in settings.class_names),
    )
