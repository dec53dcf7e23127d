"""The particle system: what collides, how hard, where, and how often the network looks.

What happens while two of them touch is in :mod:`lightning_physim.physics.contact`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from lightning_physim.errors import InputError
from lightning_physim.physics.contact import (
    ContactLaw,
    contact_duration,
    critical_damping,
    damping_for_restitution,
    stable_step,
)
from lightning_physim.ranges import LARGEST, MOST_COUNTED, SMALLEST


@dataclass(frozen=True)
class ParticleSystem:
    """Equal or unequal discs in a box, with linear spring-dashpot contacts and gravity along ``-y``.

    Any consistent set of units will do; the defaults make the disc's diameter, its mass and gravity 1.

    Args:
        n_particles: number of discs.
        box: width and height. Walls stand at ``0`` and at these values, where ``walls`` are on.
        radius: radius of every disc, or one per disc (length).
        mass: mass of every disc, or one per disc (mass).
        stiffness: spring constant ``k`` (force/length). Stiffer contacts are shorter, ``t_c ~ sqrt(m_eff / k)``, and
            cost proportionally more steps.
        restitution: fraction of the approach speed that the two lightest discs keep in a head-on collision, in
            ``(0, 1]``. Heavier pairs, and walls, share ``gamma`` and lose more: at a wall equal discs keep roughly
            ``restitution ** sqrt(2)``.
        damping: ``gamma`` itself (1/time), instead of ``restitution``: exactly one of the two must be given. An
            overdamped contact never ends while its attractive tail is kept, and is refused; with
            ``attractive_tail=False`` it ends, and is allowed.
        wall_stiffness: spring constant of the walls; None: ``stiffness``.
        wall_damping: ``gamma`` of the walls (1/time); None: that of the pairs.
        gravity: acceleration along ``-y``.
        interval: time between two states that the network sees.
        attractive_tail: keep the pull with which the dashpot ends a contact, as LAMMPS does; otherwise contact
            forces are clipped at zero (LAMMPS's ``limit_damping``), and ``restitution`` refers to that contact.
        walls: False removes the walls; ``box`` then only bounds the initial positions.

    Raises:
        InputError: a value is out of range, not finite, or does not fit the others.
    """

    n_particles: int = 16
    box: tuple[float, float] = (10.0, 10.0)
    radius: float | list[float] = 0.5
    mass: float | list[float] = 1.0
    stiffness: float = 2000.0
    restitution: float | None = None
    damping: float | None = None
    wall_stiffness: float | None = None
    wall_damping: float | None = None
    gravity: float = 1.0
    interval: float = 0.1
    attractive_tail: bool = True
    walls: bool = True

    def __post_init__(self) -> None:
        n = self.n_particles
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= MOST_COUNTED:
            raise InputError(f"n_particles must be an integer of at least 1; got {n!r}; give e.g. n_particles=16")
        self._set("n_particles", int(n))
        for name in ("radius", "mass"):
            self._set(name, self._per_particle(name))
        box = self.box
        if isinstance(box, str | float | int) or len(box) != 2:
            raise InputError(f"box must be a width and a height; got {box!r}; give e.g. box=(10.0, 10.0)")
        self._set("box", tuple(_number("box", side, "box=(10.0, 10.0)", above=0.0) for side in box))
        self._set("stiffness", _number("stiffness", self.stiffness, "stiffness=2000.0", above=0.0))
        self._set("interval", _number("interval", self.interval, "interval=0.1", above=0.0))
        self._set("gravity", _number("gravity", self.gravity, "gravity=1.0"))
        if self.wall_stiffness is not None:
            self._set("wall_stiffness", _number("wall_stiffness", self.wall_stiffness, "wall_stiffness=2000.0", 0.0))
        for name in ("damping", "wall_damping"):
            if (value := getattr(self, name)) is not None:
                self._set(name, _number(name, value, f"{name}=4.24", at_least=0.0))
        if (self.restitution is None) == (self.damping is None):
            got = "neither" if self.restitution is None else "both"
            raise InputError(f"exactly one of restitution and damping must be given; got {got}; give restitution=0.9")
        if self.restitution is not None:
            restitution = _number("restitution", self.restitution, "restitution=0.9", above=0.0)
            if restitution > 1:
                raise InputError(f"restitution must be at most 1; got {restitution}; give e.g. restitution=0.9")
            self._set("restitution", restitution)

        largest = 2 * float(self.radii.max())
        if largest > min(self.box):
            raise InputError(
                f"every particle must fit in the box; got a diameter of {largest:g} in a box of "
                f"{self.box[0]:g} x {self.box[1]:g}; give a radius of at most {min(self.box) / 2:g}"
            )
        self._refuse_overdamped()

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _per_particle(self, name: str) -> float | list[float]:
        value = getattr(self, name)
        if isinstance(value, str) or not isinstance(value, Iterable):
            return _number(name, value, f"{name}=0.5", above=0.0)
        values = [_number(name, one, f"{name}=0.5", above=0.0) for one in value]
        if len(values) != self.n_particles:
            raise InputError(
                f"{name} must be one number or one per particle; got {len(values)} numbers for "
                f"{self.n_particles} particles; give e.g. {name}=0.5"
            )
        return values

    def _refuse_overdamped(self) -> None:
        if not self.attractive_tail:
            return
        heaviest = np.sort(self.masses)[-2:]
        contacts = [("wall", *self.wall_contact, float(heaviest[-1]))] if self.walls else []
        if self.n_particles > 1:
            contacts.append(("pair", *self.pair_contact, float(1 / np.sum(1 / heaviest))))
        for kind, stiffness, damping, effective_mass in contacts:
            limit = critical_damping(stiffness, effective_mass)
            if damping >= limit:
                raise InputError(
                    f"a {kind} contact must not be overdamped while its attractive tail is kept, for it would never "
                    f"end; got damping {damping:g}, limit {limit:g}; give a smaller damping, a larger restitution, "
                    "or attractive_tail=False"
                )

    @property
    def radii(self) -> np.ndarray:
        """Radius of each particle, float64 ``[n_particles]``."""
        return np.full(self.n_particles, self.radius, dtype=np.float64)

    @property
    def masses(self) -> np.ndarray:
        """Mass of each particle, float64 ``[n_particles]``."""
        return np.full(self.n_particles, self.mass, dtype=np.float64)

    @property
    def pair_contact(self) -> tuple[float, float]:
        """Spring constant ``k`` (force/length) and damping ``gamma`` (1/time) between two particles."""
        if self.restitution is None:
            assert self.damping is not None
            return self.stiffness, self.damping
        lightest = self._lightest_pair_mass
        return self.stiffness, damping_for_restitution(self.restitution, self.stiffness, lightest, self.attractive_tail)

    @property
    def wall_contact(self) -> tuple[float, float]:
        """Spring constant ``k`` (force/length) and damping ``gamma`` (1/time) between a particle and a wall."""
        stiffness, damping = self.pair_contact
        return (
            stiffness if self.wall_stiffness is None else self.wall_stiffness,
            damping if self.wall_damping is None else self.wall_damping,
        )

    @property
    def contact_law(self) -> ContactLaw:
        """What all contacts have in common, for the compiled loop."""
        return ContactLaw(clip=not self.attractive_tail)

    def alone(self, mass: float, radius: float) -> "ParticleSystem":
        """The same box with a single particle, which meets the walls as it does among the others."""
        # A restitution means another damping for another mass: the walls keep the one they have in the whole system.
        stiffness, damping = self.wall_contact
        return replace(
            self, n_particles=1, mass=mass, radius=radius, restitution=None, damping=damping,
            wall_stiffness=stiffness, wall_damping=damping,
        )  # fmt: skip

    @property
    def _lightest_pair_mass(self) -> float:
        # A lone particle counts as a pair with its like, so that restitution means the same for any n_particles.
        lightest = np.sort(self.masses)[:2]
        return float(lightest[0] * lightest[-1] / (lightest[0] + lightest[-1]))

    @property
    def contact_time(self) -> float:
        """Duration (time) of the shortest contact, over pairs and walls; infinite if nothing can touch."""
        durations = [math.inf]
        if self.n_particles > 1:
            durations.append(contact_duration(*self.pair_contact, self._lightest_pair_mass, self.attractive_tail))
        if self.walls:
            lightest = float(self.masses.min())
            durations.append(contact_duration(*self.wall_contact, lightest, self.attractive_tail))
        return min(durations)

    def stable_step(self, averaged: bool) -> float:
        """Largest linearly stable step (time) of the stiffest mode; infinite if nothing can touch.

        In a triangular pack that mode is three times as stiff, and as damped, as that of a lone pair. A wall adds its
        own.

        Args:
            averaged: whether the integrator averages contacts over a step.
        """
        lightest = np.sort(self.masses)[:2]
        frequency_squared, total_damping = 0.0, 0.0
        if self.n_particles > 1:
            stiffness, damping = self.pair_contact
            crowd = 1 if self.n_particles == 2 else 3
            frequency_squared += crowd * stiffness * float(np.sum(1 / lightest))
            total_damping += crowd * damping
        if self.walls:
            stiffness, damping = self.wall_contact
            frequency_squared += stiffness / float(lightest[0])
            total_damping += damping
        return stable_step(frequency_squared, total_damping, averaged)

    @property
    def packing_fraction(self) -> float:
        """Share of the box's area that the particles cover."""
        return float(np.pi * np.sum(self.radii**2)) / (self.box[0] * self.box[1])


def _number(name: str, value: object, example: str, above: float | None = None, at_least: float | None = None) -> float:
    """``value`` as a float, refused unless finite and within its bound."""
    rule = "positive" if above == 0 else "at least 0" if at_least == 0 else "a finite number"
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise InputError(f"{name} must be {rule}; got {value!r}; give e.g. {example}")
    number = float(value)
    too_low = (above is not None and number <= above) or (at_least is not None and number < at_least)
    if too_low or not (number == 0 or SMALLEST <= abs(number) <= LARGEST):
        raise InputError(f"{name} must be {rule} and finite; got {number}; give e.g. {example}")
    return number
