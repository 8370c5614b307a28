"""UTKFace as it was collected (Zhang et al., CVPR 2017): whole pictures, named like the aligned and cropped faces.

There are no face boxes, so ingest finds the faces.
"""

from dataclasses import replace

from faces.datasets import utkface

DATA_SET = replace(
    utkface.DATA_SET,
    name="utkface_wild",
    title="UTKFace, in the wild",
    root="data/UTKFace_wild",
    margin=0.4,
    aligned=False,
    detect=True,
    size="about 24,100 pictures in three parts, about 1.3 GB; ages 1 to 116",
    known_errors=(
        "The same label errors as in the aligned set. At least one name lacks the gender (part2/53__0_...) and is "
        "rejected. On pictures of several people the label is taken to mean the largest face near the centre."
    ),
    same_pictures=("utkface",),
    how_to_get="./download.sh utkface_wild",
)
