"""MaskCLIP++ and its relatives: open-vocabulary segmentation by classifying masks with CLIP."""

__version__ = "0.1.0"
