"""Image towers of CLIP behind one face."""

from .base import BlockTower, PoolTower, Tower
from .clip_vit import CLIPTower
from .eva_vit import EVATower
from .pooled_vit import LatentPoolTower
from .resnet import ResNetTower

__all__ = ["BlockTower", "CLIPTower", "EVATower", "LatentPoolTower", "PoolTower", "ResNetTower", "Tower"]
