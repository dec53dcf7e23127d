"""Random initial states without overlaps.

At low density discs are thrown in one after another (random sequential addition). That jams near a packing fraction of
0.55; beyond, equal discs start on the roomiest lattice that holds them and are stirred by hard-disc Monte Carlo, and
unequal ones are grown to their size while they are stirred.
"""

import hashlib
import math

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.physics.compiled import compiled
from lightning_physim.physics.system import ParticleSystem

TRIES_PER_PARTICLE = 400  # random sequential addition gives up after this many throws a particle
SWEEPS = 200  # Monte Carlo sweeps that take a lattice apart
GROWTH_SWEEPS = 20000  # after which unequal discs that have not reached their size are said not to fit


def sample_initial_states(
    system: ParticleSystem,
    n_systems: int,
    seed: int = 0,
    *,
    velocity_std: float = 1.0,
    split: str = "train",
    first_index: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions without overlaps, between each other and with the walls, and normal velocities.

    Trajectory ``first_index + s`` depends on ``(seed, split, first_index + s)`` and the system alone, so batches of any
    size, made anywhere, add up to the same data set.

    Args:
        system: the particle system. The box bounds the positions even where ``walls=False``.
        n_systems: number of states.
        seed: root seed, at least 0.
        velocity_std: standard deviation of each velocity component (length/time).
        split: name of the data split; splits share no random numbers.
        first_index: index of the first trajectory.

    Returns:
        ``(x, v)``, float64 ``[n_systems, n_particles, 2]``.

    Raises:
        InputError: a value is out of range, or the particles do not fit in the box.
    """
    for name, number, least in (("n_systems", n_systems, 1), ("seed", seed, 0), ("first_index", first_index, 0)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise InputError(f"{name} must be an integer of at least {least}; got {number!r}; give e.g. {name}={least}")
    if not 0 <= velocity_std < math.inf:
        raise InputError(f"velocity_std must be at least 0 and finite; got {velocity_std!r}; give velocity_std=1.0")
    _refuse_impossible(system)
    n, radii, box = system.n_particles, system.radii, np.array(system.box)
    name_key = int.from_bytes(hashlib.sha256(split.encode()).digest()[:4], "little")
    x, v = np.empty((n_systems, n, 2)), np.empty((n_systems, n, 2))
    for s in range(n_systems):
        stream = np.random.SeedSequence(int(seed), spawn_key=(name_key, int(first_index) + s))
        rng = np.random.Generator(np.random.PCG64(stream))
        v[s] = velocity_std * rng.standard_normal((n, 2))
        x[s] = _place(rng, radii, box)
    return x, v


def _place(rng: np.random.Generator, radii: np.ndarray, box: np.ndarray) -> np.ndarray:
    x = np.empty((len(radii), 2))
    # Large discs first, which find room most easily while there is most.
    order = np.argsort(-radii, kind="stable")
    # In pieces, which give the same numbers as one draw: most systems need but the first.
    placed, piece = 0, 8 * len(radii)
    for _ in range(0, TRIES_PER_PARTICLE + 8, 8):
        placed = _throw(rng.random((piece, 2)), radii, box, order, placed, x)
        if placed == len(radii):
            return x
    if (radii == radii[0]).all():
        sites = _roomiest_lattice(len(radii), float(radii[0]), box)
        if sites is not None:
            x = sites[rng.permutation(len(sites))[: len(radii)]]
            _stir(rng.random((SWEEPS, len(radii), 2)), radii, box, x, 0.3 * float(radii[0]))
            return x
    return _grow(rng, radii, box)


def _grow(rng: np.random.Generator, radii: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Discs grown from points, as fast as their neighbours allow, while Monte Carlo makes room."""
    x = radii[:, None] + rng.random((len(radii), 2)) * (box - 2 * radii[:, None])
    reach = 0.5 * float(radii.min())
    for _ in range(0, GROWTH_SWEEPS, 20):
        size = min(1.0, _free_size(radii, x))
        if size == 1.0:
            return x
        accepted = _stir(rng.random((20, len(radii), 2)), radii, box, x, reach, size)
        reach *= 1.1 if accepted > 0.4 else 0.9
    fraction = float(np.pi * np.sum(radii**2) / np.prod(box))
    raise InputError(
        f"the particles must fit in the box; got a packing fraction of {fraction:.3f}, for which no arrangement was "
        f"found (best: radii {_free_size(radii, x):.3f} times as large); give fewer or smaller particles, or a larger "
        "box"
    )


def _refuse_impossible(system: ParticleSystem) -> None:
    """Refuse equal discs beyond Groemer's bound (Math. Z. 73, 285, 1960), and unequal ones larger than the box.

    Centres of discs of diameter ``d`` lie in a rectangle of area ``A`` and perimeter ``P``, a distance ``d`` apart:
    there are at most ``2 A / (sqrt(3) d^2) + P / (2 d) + 1`` of them.
    """
    radii = system.radii
    if (radii == radii[0]).all():
        width, height = (side - 2 * radii[0] for side in system.box)
        diameter = 2 * radii[0]
        most = math.floor(2 * width * height / (math.sqrt(3) * diameter**2) + (width + height) / diameter + 1 + 1e-9)
        if system.n_particles > most:
            raise InputError(
                f"the particles must fit in the box; got {system.n_particles} (packing fraction "
                f"{system.packing_fraction:.3f}), and no more than {most} discs of radius {radii[0]:g} can "
                f"(packing fraction {most * np.pi * radii[0] ** 2 / math.prod(system.box):.3f}; 0.907 in the plane); "
                f"give n_particles={most} or fewer, or a larger box"
            )
    elif system.packing_fraction > 1:
        raise InputError(
            f"the particles must fit in the box; got a packing fraction of {system.packing_fraction:.3f}, limit 1; "
            "give fewer or smaller particles or a larger box"
        )


def _roomiest_lattice(n: int, radius: float, box: np.ndarray) -> np.ndarray | None:
    """At least ``n`` sites of the straight or staggered lattice, stretched to the box, with the most room; or None."""
    best, best_room = None, 2 * radius * (1 - 1e-12)
    for swap in (False, True):
        width, height = (box[::-1] if swap else box) - 2 * radius
        for per_row in range(1, n + 1):
            for staggered in (0, 0.5):  # shift of every second row, in units of the spacing
                n_rows = math.ceil(n / per_row)
                spacing = width / max(per_row - 1 + (staggered if n_rows > 1 else 0), staggered or 1)
                rise = height / (n_rows - 1) if n_rows > 1 else math.inf
                between = min(math.hypot(staggered * spacing, rise), 2 * rise)
                room = min(spacing if per_row > 1 else math.inf, between)
                if room > best_room:
                    row, column = np.divmod(np.arange(per_row * n_rows), per_row)
                    rise = rise if n_rows > 1 else 0.0
                    sites = np.stack([(column + staggered * (row % 2)) * spacing, row * rise], axis=-1) + radius
                    best, best_room = (sites[:, ::-1] if swap else sites).copy(), room
    return best


@compiled()
def _throw(
    uniform: np.ndarray, radii: np.ndarray, box: np.ndarray, order: np.ndarray, placed: int, x: np.ndarray
) -> int:
    """Random sequential addition from the throws in ``uniform``; how many of ``order`` now have their place."""
    n, widest = radii.size, radii[order[0]]
    # Cells no smaller than a diameter, so that whoever overlaps lies in one of the nine around; the discs of a cell are
    # chained from the newest to the oldest.
    most = int(np.sqrt(n)) + 1
    n_x, n_y = max(1, min(most, int(box[0] / (2 * widest)))), max(1, min(most, int(box[1] / (2 * widest))))
    newest, older = np.full((n_x, n_y), -1), np.full(n, -1)
    listed = 0
    for t in range(uniform.shape[0]):
        while listed < placed:
            j = order[listed]
            c_x, c_y = min(int(x[j, 0] / box[0] * n_x), n_x - 1), min(int(x[j, 1] / box[1] * n_y), n_y - 1)
            older[j], newest[c_x, c_y] = newest[c_x, c_y], j
            listed += 1
        if placed == n:
            break
        i = order[placed]
        px = radii[i] + uniform[t, 0] * (box[0] - 2 * radii[i])
        py = radii[i] + uniform[t, 1] * (box[1] - 2 * radii[i])
        c_x, c_y = min(int(px / box[0] * n_x), n_x - 1), min(int(py / box[1] * n_y), n_y - 1)
        free = True
        for k_x in range(max(c_x - 1, 0), min(c_x + 2, n_x)):
            for k_y in range(max(c_y - 1, 0), min(c_y + 2, n_y)):
                j = newest[k_x, k_y]
                while free and j >= 0:
                    free = (px - x[j, 0]) ** 2 + (py - x[j, 1]) ** 2 >= (radii[i] + radii[j]) ** 2
                    j = older[j]
        if free:
            x[i, 0], x[i, 1] = px, py
            placed += 1
    return placed


@compiled()
def _stir(
    uniform: np.ndarray, radii: np.ndarray, box: np.ndarray, x: np.ndarray, reach: float, size: float = 1.0
) -> float:
    """Monte Carlo sweeps of hard discs of ``size`` times their radii, in place; share of moves accepted."""
    sweeps, n, _ = uniform.shape
    accepted = 0
    for sweep in range(sweeps):
        for i in range(n):
            px = x[i, 0] + (2 * uniform[sweep, i, 0] - 1) * reach
            py = x[i, 1] + (2 * uniform[sweep, i, 1] - 1) * reach
            if min(px, box[0] - px, py, box[1] - py) < radii[i]:
                continue
            free = True
            for j in range(n):
                if j != i and (px - x[j, 0]) ** 2 + (py - x[j, 1]) ** 2 < (size * (radii[i] + radii[j])) ** 2:
                    free = False
                    break
            if free:
                x[i, 0], x[i, 1] = px, py
                accepted += 1
    return accepted / (sweeps * n)


@compiled()
def _free_size(radii: np.ndarray, x: np.ndarray) -> float:
    """Factor by which all radii can be multiplied before two discs touch."""
    size = np.inf
    for i in range(radii.size):
        for j in range(i + 1, radii.size):
            distance = np.sqrt((x[i, 0] - x[j, 0]) ** 2 + (x[i, 1] - x[j, 1]) ** 2)
            size = min(size, distance / (radii[i] + radii[j]))
    return size
