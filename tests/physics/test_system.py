"""The particle system: closed forms of a contact on both sides of critical damping, derived values, refusals."""

import dataclasses
import json
import math

import numpy as np
import pytest
from numba import njit
from scipy.integrate import solve_ivp

from lightning_physim.errors import InputError
from lightning_physim.physics import ParticleSystem
from lightning_physim.physics.compiled import compiled
from lightning_physim.physics.contact import contact_duration, damping_for_restitution


def restitution_by_quadrature(stiffness, damping, effective_mass, attractive_tail):
    """Speed ratio and duration of a contact, by integrating its equation of motion until it ends."""
    # The event of the clipped contact is where its speed stops falling; both hold at the start too, hence `start`.

    def motion(_, state):
        return state[1], -stiffness / effective_mass * state[0] - damping * state[1]

    def end(_, state):
        return state[0] if attractive_tail else motion(0, state)[1]

    end.terminal, end.direction = True, -1 if attractive_tail else 1
    start = 1e-9
    run = solve_ivp(motion, (start, 10), [start, 1.0], events=end, rtol=1e-11, atol=1e-14, max_step=1e-3)
    return -run.y[1, -1], run.t[-1]


@pytest.mark.parametrize("attractive_tail", [True, False])
@pytest.mark.parametrize("damping", [0.5, 4.2398, 30.0, 80.0, 130.0, 400.0])
def test_contact_duration_and_restitution(damping, attractive_tail):
    stiffness, effective_mass = 2000.0, 0.5
    duration = contact_duration(stiffness, damping, effective_mass, attractive_tail)
    if attractive_tail and damping > 2 * math.sqrt(stiffness / effective_mass):
        assert duration == math.inf
        return
    ratio, time = restitution_by_quadrature(stiffness, damping, effective_mass, attractive_tail)
    assert duration == pytest.approx(time, rel=1e-5)
    assert math.exp(-damping / 2 * duration) == pytest.approx(ratio, rel=1e-4, abs=1e-8)


def test_critical_damping_is_the_limit_of_both_sides():
    critical = 2 * math.sqrt(2000.0 / 0.5)
    below, at, above = (contact_duration(2000.0, critical * f, 0.5, False) for f in (1 - 1e-7, 1, 1 + 1e-7))
    assert at == pytest.approx(below, rel=1e-6) == pytest.approx(above, rel=1e-6)
    assert math.exp(-critical / 2 * at) == pytest.approx(math.exp(-2))


@pytest.mark.parametrize("attractive_tail", [True, False])
@pytest.mark.parametrize("restitution", [1.0, 0.99, 0.9, 0.5, 0.14, 0.13, 0.01])
def test_damping_inverts_restitution(restitution, attractive_tail):
    damping = damping_for_restitution(restitution, 2000.0, 0.5, attractive_tail)
    duration = contact_duration(2000.0, damping, 0.5, attractive_tail)
    assert math.exp(-damping / 2 * duration) == pytest.approx(restitution, rel=1e-12)


def test_published_values():
    """k = 2000, m = 1, e = 0.9: the example of the LAMMPS references."""
    system = ParticleSystem(restitution=0.9)
    assert system.pair_contact == pytest.approx((2000.0, 4.239785712414847), rel=1e-14)
    assert system.wall_contact == system.pair_contact
    assert system.contact_time == pytest.approx(0.04970086830063697, rel=1e-12)
    alone = ParticleSystem(n_particles=1, restitution=0.9)
    assert alone.pair_contact == system.pair_contact
    assert math.exp(-alone.pair_contact[1] / 2 * alone.contact_time) == pytest.approx(0.861495, abs=1e-6)
    assert ParticleSystem(n_particles=1, restitution=0.9, walls=False).contact_time == math.inf


def test_restitution_belongs_to_the_two_lightest():
    system = ParticleSystem(n_particles=3, mass=[3.0, 1.0, 2.0], restitution=0.8)
    damping = system.pair_contact[1]
    assert damping == pytest.approx(damping_for_restitution(0.8, 2000.0, 2 / 3, True))
    assert system.contact_time == pytest.approx(contact_duration(2000.0, damping, 2 / 3, True))


def test_walls_of_their_own():
    system = ParticleSystem(damping=4.0, wall_stiffness=8000.0, wall_damping=1.0)
    assert (system.pair_contact, system.wall_contact) == ((2000.0, 4.0), (8000.0, 1.0))
    assert system.contact_time == pytest.approx(math.pi / math.sqrt(8000.0 - 0.25))


def test_arrays_and_packing_fraction():
    system = ParticleSystem(n_particles=2, radius=[0.5, 0.8], mass=[1, 2.56], restitution=0.9)
    assert system.radii.tolist() == [0.5, 0.8] and system.masses.tolist() == [1.0, 2.56]
    assert system.packing_fraction == pytest.approx(math.pi * (0.25 + 0.64) / 100)


def test_plain_values_make_equal_json():
    one = ParticleSystem(box=[10, 10], stiffness=2000, restitution=0.9, gravity=np.float64(1))
    other = ParticleSystem(restitution=0.9)
    assert one == other
    assert json.dumps(dataclasses.asdict(one)) == json.dumps(dataclasses.asdict(other))


def test_jsonargparse_builds_it():
    jsonargparse = pytest.importorskip("jsonargparse")
    parser = jsonargparse.ArgumentParser()
    parser.add_argument("--system", type=ParticleSystem, default=ParticleSystem(restitution=0.9))
    arguments = parser.parse_args(
        ["--system.n_particles=2", "--system.radius=[0.4,0.5]", "--system.box=[8,9]", "--system.restitution=0.5"]
    )
    system = parser.instantiate(arguments).system
    assert system == ParticleSystem(n_particles=2, radius=[0.4, 0.5], box=(8.0, 9.0), restitution=0.5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_particles": True}, r"n_particles must be an integer of at least 1; got True"),
        ({"box": 10.0}, r"box must be a width and a height; got 10.0"),
        ({"radius": "wide"}, r"radius must be positive; got 'wide'"),
        ({"mass": [1.0] * 15 + [0.0]}, r"mass must be positive"),
        ({"wall_stiffness": 0.0}, r"wall_stiffness must be positive"),
        ({"wall_damping": -1.0}, r"wall_damping must be at least 0"),
        ({"interval": True}, r"interval must be positive"),
        ({"restitution": None, "damping": 90.0}, r"a wall contact must not be overdamped .* damping 90, limit 89.4"),
        ({"restitution": None, "damping": 130.0, "wall_damping": 0.0}, r"a pair contact .* overdamped .* limit 126"),
        ({"restitution": 0.01}, r"a wall contact must not be overdamped .* or attractive_tail=False"),
    ],
)
def test_refusals(values, message):
    with pytest.raises(InputError, match=message) as refusal:
        ParticleSystem(**{"restitution": 0.9, **values})
    assert "\n" not in str(refusal.value)


def test_overdamped_contacts_end_without_their_tail():
    system = ParticleSystem(restitution=None, damping=300.0, attractive_tail=False)
    assert 0 < system.contact_time < math.inf


def test_functions_compile_where_no_cache_can_be_kept():
    """As in a container whose folders are all read-only: numba finds no place either for source that is in no file."""
    namespace = {}
    exec("def one():\n    return 1\n", namespace)
    with pytest.raises(RuntimeError, match="no locator available"):
        njit(cache=True)(namespace["one"])
    assert compiled()(namespace["one"])() == 1
