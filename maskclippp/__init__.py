"""MaskCLIP++ and its relatives: open-vocabulary segmentation by classifying masks with CLIP."""

from maskclippp.utils.shadowing import hide_data_folder

__version__ = "0.1.0"

# Before any package is imported that would take the repository's folder datasets/ for Hugging Face's package.
hide_data_folder()
