"""The contact law: what two discs, or a disc and a wall, do to each other while they touch.

Contacts are linear spring-dashpots in the convention of LAMMPS's ``gran/hooke``: two discs that overlap by ``delta``
and approach each other at speed ``u`` along the line of centres repel each other with

    F = k delta + m_eff gamma u,        m_eff = m_i m_j / (m_i + m_j),

and a wall acts in the same way with ``m_eff = m_i``. With ``omega_0^2 = k / m_eff``, ``beta = gamma / 2`` and
``omega^2 = omega_0^2 - beta^2`` a contact lasts ``t_c`` and returns the fraction ``e = exp(-beta t_c)`` of the speed:

- the attractive end of the contact kept (LAMMPS's default): ``t_c = pi / omega``;
- the force clipped at zero (``limit_damping``): ``t_c = 2 atan2(omega, beta) / omega``.

Sources: LAMMPS documentation of ``pair_style gran/hooke`` and ``fix wall/gran``; Silbert et al., Phys. Rev. E 64,
051302 (2001); Schwager and Poeschel, Granular Matter 9, 465 (2007) for the clipped contact.

A law is changed here, and gets its parameters from :class:`lightning_physim.physics.ParticleSystem`. The loop that
calls it does not know them.
"""

import math
from typing import NamedTuple

from lightning_physim.physics.compiled import compiled

STEPS_PER_CONTACT = {"averaged": 20.0, "verlet": 50.0}
"""Default steps per duration of a contact, for each integrator."""
COARSE, TOO_COARSE = 20.0, 10.0
"""Steps per contact below which a simulation warns, and below which it is refused."""


class ContactLaw(NamedTuple):
    """What all contacts of a system have in common.

    Args:
        clip: no contact pulls: the force is clipped at zero.
    """

    clip: bool


@compiled()
def touch(overlap: float, approach: float, dt: float, averaged: bool) -> tuple[float, float]:
    """How deep a contact is in a step, and for which fraction of the step it lasts; 0 and 0 where there is none.

    Averaged over a step, a disc that moves on a straight path through the contact's edge is in contact for a part of
    the step only. That restores second order where a dashpot's force jumps.

    Args:
        overlap: of the two at the moment, negative where they are apart (length).
        approach: their speed towards each other (length/time).
        dt: the step (time).
        averaged: whether to average.
    """
    if not averaged:
        return overlap, 1.0
    path = abs(approach) * dt
    if overlap < 0.5 * path:
        entered = overlap + 0.5 * path
        if entered <= 0:
            return 0.0, 0.0
        return 0.5 * entered * entered / path, entered / path
    if overlap <= 0:
        return 0.0, 0.0
    return overlap, 1.0


@compiled()
def repulsion(
    law: ContactLaw, stiffness: float, damping: float, depth: float, fraction: float, approach: float
) -> float:
    """``stiffness * depth + damping * fraction * approach``, the force that drives the two apart.

    Args:
        law: of the system.
        stiffness: spring constant ``k`` (force/length).
        damping: ``m_eff gamma`` (mass/time).
        depth, fraction: of :func:`touch`.
        approach: speed towards each other (length/time).

    Returns:
        A force; an acceleration where both coefficients are given per mass, as walls do. A law must therefore be
        proportional to the two.
    """
    force = stiffness * depth + damping * fraction * approach
    if law.clip and force < 0:
        return 0.0
    return force


def stable_step(frequency_squared: float, damping: float, averaged: bool) -> float:
    """Largest linearly stable step (time) of one mode; infinite where nothing pulls it back.

    It needs ``omega_0^2 dt^2 + 2 gamma dt < 4``, and ``omega_0^2 dt^2 + 4 gamma dt < 4`` where contacts are averaged,
    for their dashpots see a predicted velocity.

    Args:
        frequency_squared: ``omega_0^2``, spring constant over effective mass (1/time^2).
        damping: ``gamma`` (1/time).
        averaged: see :func:`touch`.
    """
    linear = (4 if averaged else 2) * damping
    return 8 / (linear + math.sqrt(linear**2 + 16 * frequency_squared)) if frequency_squared else math.inf


def critical_damping(stiffness: float, effective_mass: float) -> float:
    """Damping ``gamma`` (1/time) from which a contact is overdamped: with its attractive end kept it never ends."""
    return 2 * math.sqrt(stiffness / effective_mass)


def contact_duration(stiffness: float, damping: float, effective_mass: float, attractive_tail: bool) -> float:
    """Duration ``t_c`` of a binary contact; infinite if it never ends (overdamped, with its attractive end kept)."""
    square = stiffness / effective_mass - (damping / 2) ** 2
    beta, omega = damping / 2, math.sqrt(abs(square))
    if attractive_tail:
        return math.pi / omega if square > 0 else math.inf
    if omega < 1e-6 * beta:  # critical damping: the limit of both branches below
        return 2 / beta
    return 2 * (math.atan2(omega, beta) if square > 0 else math.atanh(omega / beta)) / omega


def damping_for_restitution(
    restitution: float, stiffness: float, effective_mass: float, attractive_tail: bool
) -> float:
    """Damping ``gamma`` (1/time) with which a binary contact returns ``restitution`` of the approach speed."""
    omega_0, loss = math.sqrt(stiffness / effective_mass), -math.log(restitution)
    if attractive_tail or loss == 0:
        return 2 * omega_0 * loss / math.hypot(math.pi, loss)
    # The loss beta t_c grows with beta without bound, like 2 ln(2 beta / omega_0), so a bracket always exists.
    low, high = 0.0, omega_0 * math.exp(loss / 2 + 1)
    while (middle := (low + high) / 2) not in (low, high):
        if middle * contact_duration(stiffness, 2 * middle, effective_mass, False) < loss:
            low = middle
        else:
            high = middle
    return 2 * middle
