"""How the app's inputs follow from the right ones: orientation, channels, and an affine map, fitted by fitting them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FIT_SAMPLES = 48
EXACT = 2e-3  # residual energy, relative, of a map that explains everything but rounding
IDENTITY = 0.02  # from a gain of 1, and of the spread as an offset, within which a map is none
VARIES = 0.02  # relative spread of a gain over images
SIMPLER, NOISE = 0.7, 1e-5  # share of the residual, less noise, that a less simple transform must leave to be taken
FOR_A_LINE = 6  # numbers of a sample that say something of its own line
BY_IMAGE = 0.3  # the same, for one gain per image
SHARED, TINY = 1.2, 1e-4  # times the residual of gains per channel within which one gain for all is taken

RESHAPED = ("channels first, reshaped", "channels last, reshaped from first")
AS_IS, REVERSED, GREY = "as is", "reversed (BGR)", "grey"
REVERSALS = ("mirrored up-down", "mirrored left-right", "rotated by 180 degrees")  # axis 1, axis 2 and both
SPATIAL: dict[str, Callable[[NDArray], NDArray]] = {
    AS_IS: lambda x: x,
    "mirrored left-right": lambda x: x[:, :, ::-1],
    "mirrored up-down": lambda x: x[:, ::-1],
    "rotated by 180 degrees": lambda x: x[:, ::-1, ::-1],
    "transposed (x and y exchanged)": lambda x: x.swapaxes(1, 2),
    "rotated by 90 degrees": lambda x: np.rot90(x, 1, (1, 2)),
    "rotated by 270 degrees": lambda x: np.rot90(x, 3, (1, 2)),
    "transposed along the other diagonal": lambda x: x.swapaxes(1, 2)[:, ::-1, ::-1],
    RESHAPED[0]: lambda x: np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(x.shape),
    RESHAPED[1]: lambda x: x.reshape(len(x), x.shape[3], *x.shape[1:3]).transpose(0, 2, 3, 1),
}
CHANNELS: dict[str, Callable[[NDArray], NDArray]] = {
    AS_IS: lambda x: x,
    REVERSED: lambda x: x[..., ::-1],
    GREY: lambda x: np.repeat((x @ np.float32([0.299, 0.587, 0.114]))[..., None], 3, axis=-1),
}


@dataclass(frozen=True)
class Line:
    """user = gain * right + offset, each of as many axes as one sample; `residual`: energy left, a share."""

    gain: NDArray
    offset: NDArray
    residual: float


@dataclass(frozen=True)
class Relation:
    """user = gain * channels(spatial(right)) + offset, one gain for all, per channel, per feature or per image."""

    spatial: str
    channels: str
    gain: NDArray
    offset: NDArray
    per_image: bool
    residual: float  # share of the energy that this does not explain

    @property
    def exact(self) -> bool:
        return self.residual < EXACT

    @property
    def affine_is_identity(self) -> bool:
        return (
            not self.per_image
            and bool(np.all(np.abs(self.gain - 1) < IDENTITY))
            and bool(np.all(np.abs(self.offset) < IDENTITY * self.unit))
        )

    unit: float = 1.0  # spread of the right inputs
    order_before: bool = False  # channels were exchanged before the training's normalisation, which explains the rest

    @property
    def is_identity(self) -> bool:
        return self.spatial == self.channels == AS_IS and self.affine_is_identity and self.exact

    def apply(self, right: NDArray) -> NDArray:
        """The right inputs, made wrong in the same way."""
        transformed = CHANNELS[self.channels](SPATIAL[self.spatial](right))
        gain, offset = self.gain, self.offset
        if self.per_image:
            shape = (-1, *[1] * (right.ndim - 1))
            gain, offset = np.resize(gain, len(right)).reshape(shape), np.resize(offset, len(right)).reshape(shape)
        return np.ascontiguousarray(transformed * gain + offset, np.float32)

    def without(self, part: str) -> Relation:
        """This relation with one part made right: "spatial", "channels" or "affine"."""
        if part == "affine":
            return replace(self, gain=np.float32([1]), offset=np.float32([0]), per_image=False)
        if part == "channels" and self.order_before:
            return replace(self.without("affine"), channels=AS_IS)
        return replace(self, **{part: AS_IS})


def relate(user: NDArray, right: NDArray, valid: NDArray | None = None) -> Relation:
    """Fit the simplest relation: each orientation and channel order, and a line by least squares.

    Args:
        user: [N, ...], what the app feeds.
        right: [N, ...], same shape, what it should feed.
        valid: bool [N, ...], where values were not saturated; None for all.

    Returns:
        The relation with the least unexplained energy; a simpler one where it explains nearly as much.

    Raises:
        ValueError: the shapes differ under every orientation.
    """
    count = min(len(right), FIT_SAMPLES)
    user, right = user[:count].astype(np.float64), right[:count].astype(np.float64)
    mask = np.ones(user.shape, bool) if valid is None else valid[:count]
    unit = float(right.std()) or 1.0
    best: Relation | None = None
    for spatial, channels in _candidates(right):
        transformed = CHANNELS[channels](SPATIAL[spatial](right))
        if transformed.shape != user.shape:
            continue
        fitted = _fit(user, transformed, mask, spatial, channels, unit)
        if best is None or fitted.residual < SIMPLER * best.residual - NOISE:
            best = fitted
    if best is None:
        raise ValueError(f"shapes differ: {user.shape} against {right.shape}")
    if not best.exact and float(np.median(mask.reshape(count, -1).sum(axis=1))) >= FOR_A_LINE:
        transformed = CHANNELS[best.channels](SPATIAL[best.spatial](right))
        single = _fit_images(user, transformed, mask, best)
        best = single if single.residual < BY_IMAGE * best.residual else best
    return best


def is_scaled_per_image(user: NDArray, raw: NDArray, right: NDArray, valid: NDArray | None = None) -> bool:
    """Whether the app's inputs are the raw samples, scaled by numbers of each image's own.

    The training's inputs must not be so themselves.

    Args:
        user: [N, ...], what the app feeds.
        raw: [N, ...], same shape, samples as the app has them.
        right: [N, ...], same shape, what it should feed.
        valid: bool [N, ...], where values were not saturated; None for all.

    Returns:
        True where one line per image fits exactly and one line for all does not.
    """
    count = min(len(right), FIT_SAMPLES)
    mask = np.ones(user[:count].shape, bool) if valid is None else valid[:count]
    base = raw[:count].astype(np.float64)
    axes = tuple(range(1, base.ndim))
    first, last = user[:count].astype(np.float64), right[:count].astype(np.float64)
    own = _fit_line(first, base, mask, axes)
    channelwise = tuple(range(base.ndim - 1)) if base.shape[-1] in (1, 3, 4) else None
    shared = _fit_line(first, base, mask, channelwise)
    if float(np.median(mask.reshape(count, -1).sum(axis=1))) < FOR_A_LINE:
        return False
    rights = _fit_line(last, base, np.ones(base.shape, bool), axes)
    varies, right_varies = (np.std(g) > VARIES * max(abs(np.mean(g)), 1e-12) for g in (own.gain, rights.gain))
    right_varies = right_varies and rights.residual < EXACT
    return bool(varies) and own.residual < min(EXACT, BY_IMAGE * shared.residual) and not right_varies


def _candidates(right: NDArray) -> list[tuple[str, str]]:
    """Orientations and channel orders of images; of features, each axis reversed."""
    if right.ndim != 4:
        reversals = (AS_IS, *(REVERSALS if right.ndim == 3 else REVERSALS[:1] if right.ndim == 2 else ()))
        return [(each, AS_IS) for each in reversals]
    channels = list(CHANNELS) if right.shape[-1] == 3 else [AS_IS]
    return [(s, c) for s in SPATIAL for c in channels if s not in RESHAPED or c == AS_IS]


def _fit(user: NDArray, transformed: NDArray, mask: NDArray, spatial: str, channels: str, unit: float) -> Relation:
    """One line for all, else one for each channel, or for each feature where that explains everything."""
    *coarser, finest = (_fit_line(user, transformed, mask, axes) for axes in _list_axes(transformed))
    bar = max(SHARED * finest.residual, TINY) if len(coarser) < 2 or finest.residual < EXACT else np.inf
    line = next((each for each in coarser if each.residual < bar), finest)
    return Relation(spatial, channels, line.gain, line.offset, False, line.residual, unit)


def _list_axes(values: NDArray) -> list[tuple[int, ...]]:
    """Axes that share one line: all, then all but the channels of images, or but the features of what is no image."""
    rank = values.ndim
    everything, last = tuple(range(rank)), tuple(range(rank - 1))
    if rank == 4 and (values.shape[-1] > 1 or values.shape[1] == values.shape[2]):
        return [everything, last] if values.shape[-1] in (1, 3, 4) else [everything]
    return [everything, (0, 1, 3) if rank == 4 else last, (0,)]


def _fit_line(user: NDArray, transformed: NDArray, mask: NDArray, axes: tuple[int, ...] | None) -> Line:
    """By least squares, one for all numbers along these axes."""
    count = np.maximum(mask.sum(axis=axes, keepdims=True), 1)
    mean_user = (user * mask).sum(axis=axes, keepdims=True) / count
    mean_right = (transformed * mask).sum(axis=axes, keepdims=True) / count
    centred_user, centred_right = (user - mean_user) * mask, (transformed - mean_right) * mask
    power = (centred_right**2).sum(axis=axes, keepdims=True)
    gain = (centred_user * centred_right).sum(axis=axes, keepdims=True) / np.maximum(power, 1e-12)
    offset = mean_user - gain * mean_right
    error = ((user - gain * transformed - offset) * mask) ** 2
    energy = max(float((centred_user**2).sum()), 1e-12)
    return Line(gain.astype(np.float32), offset.astype(np.float32), float(error.sum()) / energy)


def _fit_images(user: NDArray, transformed: NDArray, mask: NDArray, like: Relation) -> Relation:
    line = _fit_line(user, transformed, mask, tuple(range(1, transformed.ndim)))
    return replace(like, gain=line.gain, offset=line.offset, per_image=True, residual=line.residual)
