"""Within a worker: stored values to what a person sees (PS3.3 C.11, PS3.4 N.2), eight bits a sample.

Stored values -> modality LUT -> VOI window or LUT -> inverse for MONOCHROME1; palettes and 16-bit colour come down to
eight bits. Overlays and annotations are not burnt in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

from services.archive.rendering.pixels import Array, Refusal

LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
Voi = Callable[[Array], Array]
_MOST_VALUES = 1 << 16
_ENTRY_DEPTHS = range(8, 17)


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window (PS3.3 C.11.2.1.2) in units of the modality LUT's output."""

    center: float
    width: float
    function: str = LINEAR

    @property
    def usable(self) -> bool:
        finite = np.isfinite(self.center) and np.isfinite(self.width)
        return bool(finite and (self.width >= 1 if self.function == LINEAR else self.width > 0))

    def apply(self, values: Array) -> Array:
        """0 to 1 for each value."""
        center, width = self.center, self.width
        if self.function == SIGMOID:
            with np.errstate(over="ignore"):
                sigmoid: Array = 1 / (1 + np.exp(-4 * (values - center) / width))
                return sigmoid
        if self.function == LINEAR:
            center, width = center - 0.5, width - 1
        if width == 0:
            return (values > center).astype(np.float64)
        return np.clip((values - center) / width + 0.5, 0, 1)


def presented(array: Array, photometric: str, data_set: Dataset, window: Window | None) -> Array:
    """The frame as uint8, rows x columns or rows x columns x 3. Raises `Refusal`."""
    if photometric == "RGB":
        return _eight_bits(array, int(data_set.BitsStored))
    if photometric == "PALETTE COLOR":
        return _palette(array, data_set)
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        return _grey(array, data_set, window, inverse=photometric == "MONOCHROME1")
    raise Refusal(f"Pixels of photometric interpretation {photometric} cannot be shown.")


def _grey(array: Array, data_set: Dataset, window: Window | None, *, inverse: bool) -> Array:
    inverse = inverse or data_set.get("PresentationLUTShape") == "INVERSE"
    voi = window.apply if window is not None else _own_voi(data_set) or _full_range(array, data_set)

    def show(stored: Array) -> Array:
        shares = voi(apply_modality_lut(stored, data_set).astype(np.float64))
        grey: Array = np.rint((1 - shares if inverse else shares) * 255).astype(np.uint8)
        return grey

    if array.dtype.kind not in "iu":
        return show(array)
    low, high = int(array.min()), int(array.max())
    if high - low >= _MOST_VALUES or array.size <= high - low:
        return show(array)
    # Fewer values than pixels: each value is worked out once.
    table = show(np.arange(low, high + 1, dtype=np.int64))
    picture: Array = np.take(table, array.astype(np.int64) - low)
    return picture


def _own_voi(data_set: Dataset) -> Voi | None:
    """What the instance itself names first: its VOI LUT, else its window; None where it names no usable one."""
    luts = data_set.get("VOILUTSequence") or []
    if len(luts) and "LUTData" in luts[0]:
        return _table(luts[0])
    center, width = (_first(data_set.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None:
        return None
    window = Window(center, width, str(data_set.get("VOILUTFunction") or LINEAR))
    return window.apply if window.usable else None


def _full_range(array: Array, data_set: Dataset) -> Voi:
    """From the frame's lowest to its highest value; padding (PS3.3 C.7.5.1.1.2) does not count."""
    padding = data_set.get("PixelPaddingValue")
    real = array if padding is None else array[array != padding]
    if real.size == 0:
        real = array
    low, high = np.sort(apply_modality_lut(np.array([real.min(), real.max()]), data_set).astype(np.float64))

    def stretched(values: Array) -> Array:
        shares: Array = np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros(values.shape)
        return shares

    return stretched


def _table(item: Dataset) -> Voi:
    """A VOI LUT (PS3.3 C.11.2.1.1). Raises `Refusal` for one that cannot be read."""
    count, first, depth = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    words = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(np.asarray(data))
    if len(words) < (count or _MOST_VALUES) or depth not in _ENTRY_DEPTHS:
        raise Refusal("The VOI LUT of this instance cannot be read.")
    shares = words[: count or _MOST_VALUES].astype(np.float64) / ((1 << depth) - 1)
    shares = np.clip(shares, 0, 1)

    def looked_up(values: Array) -> Array:
        places = np.clip(np.rint(values) - first, 0, len(shares) - 1).astype(np.int64)
        found: Array = np.take(shares, places)
        return found

    return looked_up


def _palette(array: Array, data_set: Dataset) -> Array:
    try:
        colours = apply_color_lut(array, data_set)[..., :3]
    except MemoryError:
        raise
    except Exception as error:
        raise Refusal("The palette of this instance cannot be read.") from error
    # Entries of 16 bits that use the low eight alone are written by some devices.
    depth = 8 if colours.dtype == np.uint8 or int(colours.max()) < 256 else 16
    return _eight_bits(colours, depth)


def _eight_bits(colours: Array, bits: int) -> Array:
    if bits > 8:
        return np.rint(colours.astype(np.float64) * (255 / ((1 << bits) - 1))).clip(0, 255).astype(np.uint8)
    return colours.astype(np.uint8, copy=False)


def _first(value: Any) -> float | None:
    """The first of a value that may be several, as a number; None where it is none."""
    try:
        if isinstance(value, str) or not hasattr(value, "__len__"):
            return float(value)
        return float(value[0])
    except (TypeError, ValueError, IndexError):
        return None
