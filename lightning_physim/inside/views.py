"""All views of a network on the held-out states of its data."""

from typing import Any

import torch
from torch import Tensor, nn

from lightning_physim.inside.cases import Cases, Simulator, colliding_cases, is_clear, shifted
from lightning_physim.inside.circuit import attention_scores, fit_circuit, pair_motion
from lightning_physim.inside.intervention import intervention, seen_and_unseen
from lightning_physim.inside.patching import PAIRS_TOGETHER, free_twins, patch_heads, patching
from lightning_physim.inside.result import Intervention, Patching, Views
from lightning_physim.modes import evaluating
from lightning_physim.probes import attention_patterns, near_others, reduced_distance, without_self
from lightning_physim.protocols import HasPatching, offers

REACH = 2.5
"""Contact diameters within which a particle that a head does not look at is moved: all that can be met in ``demo``."""
N_STATES = 256
"""Held-out states that are looked at where no number is given, if there are so many."""
MOVED_BY = 0.25
"""How far a particle is moved, contact diameters."""


@torch.no_grad()
def look_inside(
    module: nn.Module,
    states: Tensor,
    contacts: Tensor,
    contact_distance: Tensor,
    interval: float,
    simulator: Simulator | None,
    n_cases: int = 256,
) -> Views:
    """Every view of a network. The network is left as it was.

    Args:
        module: maps states to those of the next time, and has attention.
        states: held-out, ``[systems, particles, 4]``.
        contacts: bool ``[systems, particles, particles]``, which pairs touch in the interval that follows.
        contact_distance: ``[particles, particles]``, sums of radii.
        interval: time between two states.
        simulator: of the states; None where they were not simulated, and nobody knows the exact answer for others.
        n_cases: colliding particles that patching and the intervention look at, at most.

    Raises:
        InputError: a network without attention.
    """
    with evaluating(module):
        circuit = fit_circuit(attention_scores(module, states), *pair_motion(states, contact_distance, interval))
        cases = colliding_cases(states, contacts, contact_distance, n_cases)
        if simulator is None or not len(cases.query):
            return Views(circuit, None, None)
        return Views(
            circuit,
            _patching(module, cases, simulator) if offers(module, HasPatching) else None,
            _intervention(module, cases, contacts, contact_distance, simulator),
        )


def held_out_states(data: Any, n_states: int | None = None) -> tuple[Tensor, Tensor]:
    """States to look at, and their contacts: so many; None for :data:`N_STATES`, or all where there are fewer."""
    split = data.split("val")
    wanted = min(N_STATES, split.n_trajectories * split.n_intervals) if n_states is None else n_states
    states, contacts = data.probe_states(wanted)
    return states, contacts


def look_inside_run(module: nn.Module, data: Any, n_states: int | None = None) -> Views:
    """Every view of a network on the held-out states of its own data.

    Args:
        module: on the CPU.
        data: a :class:`lightning_physim.ParticleDataModule`, set up.
        n_states: as of :func:`held_out_states`.

    Raises:
        InputError: a network without attention, or more states than there are.
    """
    states, contacts = held_out_states(data, n_states)
    simulator = None  # of trajectories that were read from a folder nobody knows the laws
    if data.hparams["source"] is None:
        simulator = Simulator(data.system, data.target, data.hparams["integrator"], data.hparams["dt"])
    return look_inside(module, states, contacts, data.contact_distance, data.system.interval, simulator)


def _patching(module: nn.Module, cases: Cases, simulator: Simulator) -> Patching | None:
    cases, twins, exact = free_twins(cases, simulator)
    if not len(twins):
        return None
    colliding, without = patch_heads(module, cases, twins)
    free, alone = patch_heads(module, cases._replace(states=twins), cases.states)
    return patching(colliding, free, without, alone, exact, cases.group)


def _intervention(
    module: nn.Module, cases: Cases, contacts: Tensor, contact_distance: Tensor, simulator: Simulator
) -> Intervention:
    system = simulator.system
    attention = without_self(attention_patterns(module, cases.states))
    near = near_others(reduced_distance(cases.states[..., :2], contact_distance), REACH)
    seen, unseen = seen_and_unseen(attention, near, cases.query)
    n_layers, n_heads, n = seen.shape
    # Heads that look at the same particle share its moves.
    wanted = torch.stack([torch.arange(n).expand(2, n_layers, n_heads, n), torch.stack((seen, unseen))], -1)
    case, key = wanted.flatten(0, 3)[wanted[..., 1].flatten() >= 0].unique(dim=0).unbind(-1)
    moved = shifted(cases.where(case), key, contact_distance, MOVED_BY)
    move = torch.arange(len(moved)).repeat_interleave(len(case))
    places = len(moved), n, *cases.states.shape[1:]
    case, key, moved = case.repeat(len(moved)), key.repeat(len(moved)), moved.flatten(0, 1)
    clear = is_clear(moved, key, contact_distance, system.box if system.walls else None)
    move, case, key, moved = (part[clear] for part in (move, case, key, moved))
    before = cases.where(case)

    def placed(change: Tensor) -> Tensor:
        """Changes ``[..., moved, 4]`` by move, case and key; NaN where nothing was moved."""
        every = change.new_full((*change.shape[:-2], *places), torch.nan)
        every[..., move, case, key, :] = change
        return every

    exact = simulator(moved)[0] - simulator(cases.states)[0][case]
    predicted = (_predict(module, moved) - _predict(module, cases.states)[case]) / simulator.target.residual_rms
    through = None
    if offers(module, HasPatching):
        intact, patched = patch_heads(module, before, moved)
        through = placed(patched - intact)
    return intervention(
        cases,
        seen,
        unseen,
        contacts[cases.group],
        placed(before.of_query(predicted)),
        through,
        placed(before.of_query(exact)),
    )


def _predict(module: nn.Module, states: Tensor) -> Tensor:
    """The states that a module predicts, ``[n, particles, 4]``, some at a time."""
    return torch.cat([module(part) for part in states.split(max(1, PAIRS_TOGETHER // states.shape[1] ** 2))])
