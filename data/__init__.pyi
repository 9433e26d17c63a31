from .animations import Film, write_animation
from .atomic import atomic_path, write_text_atomic
from .datasets import (
    Domain,
    Draw,
    PairedPictures,
    UnpairedBatch,
    UnpairedPictures,
    UnpairedSampler,
)
from .decode import Picture, read_picture, read_size
from .encode import write_picture
from .files import gather_pictures, list_pairs, list_pictures, output_names
from .loaders import UnpairedLoader
from .metrics.paired import (
    color_distance,
    edge_correlation,
    mean_absolute_error,
    palette_distance,
    psnr,
    ssim,
)
from .metrics.spectrum import GridPeaks
from .metrics.swd import patch_descriptors, patch_distance
from .samples.painting import PaintStyle, paint
from .tensors import check_images, pad_to_multiple, to_pictures, to_tensor
from .transforms import Preprocessing

__all__ = [
    "Domain",
    "Draw",
    "Film",
    "GridPeaks",
    "PaintStyle",
    "PairedPictures",
    "Picture",
    "Preprocessing",
    "UnpairedBatch",
    "UnpairedLoader",
    "UnpairedPictures",
    "UnpairedSampler",
    "atomic_path",
    "check_images",
    "color_distance",
    "edge_correlation",
    "gather_pictures",
    "list_pairs",
    "list_pictures",
    "mean_absolute_error",
    "output_names",
    "pad_to_multiple",
    "paint",
    "palette_distance",
    "patch_descriptors",
    "patch_distance",
    "psnr",
    "read_picture",
    "read_size",
    "ssim",
    "to_pictures",
    "to_tensor",
    "write_animation",
    "write_picture",
    "write_text_atomic",
]
