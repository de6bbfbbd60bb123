"""The number in a file name, which follows the order of capture where a dataset numbers its images."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

_DIGITS = re.compile(r"(\d+)")


def order_of(images: Sequence[str]) -> list[int] | None:
    """Return the number in the name of each image of one class, or None where the names carry no order.

    Names carry an order where they are alike except for one number: "WBC-Benign-001.jpg", "images_12.jpeg",
    "_0_12.jpeg". Where two numbers vary, none of them is known to follow the capture. Leading zeros do not matter.

    Args:
        images: paths or file names; folders and endings are ignored.
    """
    parts = [_DIGITS.split(PurePosixPath(image).stem.lower()) for image in images]
    if len({len(each) for each in parts}) != 1 or len({tuple(each[::2]) for each in parts}) != 1:
        return None
    numbers = [[int(digits) for digits in each[1::2]] for each in parts]
    varying = [place for place, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
    if len(varying) != 1:
        return None
    return [each[varying[0]] for each in numbers]
