"""One trajectory as one small HTML file that plays anywhere: no server, no network, no plug-in."""

import base64
import json
from pathlib import Path

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.report.page import rendered


def write_animation(
    path: str | Path,
    positions: np.ndarray,
    box: tuple[float, float],
    radii: np.ndarray,
    colliding: np.ndarray,
    interval: float,
    title: str,
    subtitle: str = "",
) -> Path:
    """Writes :func:`animation_html` to ``path``, making its folder if need be.

    Raises:
        InputError: the file cannot be written, or the arrays do not fit together.
    """
    target = Path(path)
    page = animation_html(positions, box, radii, colliding, interval, title, subtitle)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"an animation goes to a file that can be written; got {error.strerror} for {target}: "
            "choose another, e.g. --animate=elsewhere.html"
        ) from error
    return target


def animation_html(
    positions: np.ndarray,
    box: tuple[float, float],
    radii: np.ndarray,
    colliding: np.ndarray,
    interval: float,
    title: str,
    subtitle: str = "",
) -> str:
    """A self-contained page: discs move, light up where they touch, and can be paused, scrubbed and slowed down.

    Args:
        positions: ``[T+1, N, 2]``, in units of length; drawn to 1/65535 of their range.
        box: width and height of the box with its corner at the origin.
        radii: ``[N]``.
        colliding: bool ``[T, N]``, which particles touched another one during each interval: those get a ring.
        interval: time between two rows of ``positions``.
        title, subtitle: plain text above the picture.

    Raises:
        InputError: the shapes do not fit together, or a position is not finite.
    """
    n_times, n_particles = positions.shape[:2]
    expected = {
        "positions": (n_times, n_particles, 2),
        "radii": (n_particles,),
        "colliding": (n_times - 1, n_particles),
    }
    for name, array in {"positions": positions, "radii": radii, "colliding": colliding}.items():
        if np.shape(array) != expected[name]:
            raise InputError(f"{name} must have the shape {expected[name]}; got {np.shape(array)}")
    if not np.isfinite(positions).all():
        raise InputError("positions must be finite; got NaN or infinity")
    low, high = float(min(0.0, positions.min())), float(max(*box, positions.max()))
    steps = np.rint((positions - low) / (high - low) * 65535).astype("<u2")
    data = {
        "n": n_particles,
        "box": [float(side) for side in box],
        "radii": [round(float(radius), 6) for radius in radii],
        "interval": interval,
        "low": low,
        "scale": (high - low) / 65535,
        "positions": base64.b64encode(steps.tobytes()).decode(),
        "colliding": [np.flatnonzero(row).tolist() for row in colliding],
    }
    # No text is in it.
    return rendered("animation.html", title=title, subtitle=subtitle, data=json.dumps(data, separators=(",", ":")))
