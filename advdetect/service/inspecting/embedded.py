"""Which of the data at hand, if any, shows what a guard was made for."""

from advdetect import data
from advdetect.guard import Guard

# They come with the package or with what it needs: nothing is fetched.
AT_HAND = ("fashion-mnist", "digits")


def fitting_data(guard: Guard) -> str | None:
    """Name the data whose pictures and classes are the guard's, or none."""
    about = guard.about
    for name in AT_HAND:
        one = data.load(name, split="evaluation", limit=1)
        same = one.shape == tuple(guard.input_shape) and about.get("classes") == list(one.classes)
        if same and about.get("data", name) == name:
            return name
    return None


def why_none(guard: Guard) -> str:
    """Say in a line why nothing at hand fits."""
    channels, height, width = guard.input_shape
    return (
        f"This guard takes pictures of {height} x {width} pixels in {channels} "
        f"channel{'s' if channels > 1 else ''}, of classes or data of its own: none of the "
        "pictures that come with advdetect are such. Give it one of yours."
    )
