"""The compiled inner loop: many independent systems, each stepped on its own Verlet list.

Systems share nothing with one another, and the pair list is always in lexicographic order, so a trajectory is the
same to the last bit whatever the batch, the number of threads, the skin of the list and the way it was built.
``fastmath`` stays off in all that touches a state, for the same reason.

Coordinates are kept flat, ``(x_0, y_0, x_1, y_1, ...)``: the kick and the drift are then one vectorised loop.
"""

from typing import NamedTuple

import numpy as np

from lightning_physim.physics.compiled import compiled
from lightning_physim.physics.contact import ContactLaw, repulsion, touch

Array = np.ndarray

CELL_LIST_FROM = 64  # particles from which binning beats testing all pairs
LONGEST_TRUST = 10  # steps for which a list is used without another look at the displacements


class Constants(NamedTuple):
    """What does not change while a system moves.

    Args:
        radius, mass: of each particle, float64 ``[particles]``.
        box: width and height, float64 ``[2]``.
        law: of all contacts.
        pair_stiffness, wall_stiffness: spring constants (force/length).
        pair_damping, wall_damping: damping (1/time).
        gravity: acceleration along ``-y``.
        walls: whether there are any.
        averaged: average the contact force over a step.
        n_substeps: steps of an interval.
        dt: the step (time).
        packing: packing fraction of the discs in the box, by which the skin of the pair list is chosen.
        widest: see :func:`list_pairs`.
    """

    radius: Array
    mass: Array
    box: Array
    law: ContactLaw
    pair_stiffness: float
    pair_damping: float
    wall_stiffness: float
    wall_damping: float
    gravity: float
    walls: bool
    averaged: bool
    n_substeps: int
    dt: float
    packing: float
    widest: float | None


@compiled(fastmath={"nnan", "ninf", "nsz", "reassoc"})
def _fastest(position: Array, listed_position: Array, velocity: Array, acceleration: Array) -> tuple:
    """Largest squared displacement since the list was built, squared speed and squared acceleration.

    These decide only when a list is renewed, never a force: here the order of operations is free.
    """
    moved, speed, pull = 0.0, 0.0, 0.0
    for i in range(position.size // 2):
        dx = position[2 * i] - listed_position[2 * i]
        dy = position[2 * i + 1] - listed_position[2 * i + 1]
        moved = max(moved, dx * dx + dy * dy)
        speed = max(speed, velocity[2 * i] ** 2 + velocity[2 * i + 1] ** 2)
        pull = max(pull, acceleration[2 * i] ** 2 + acceleration[2 * i + 1] ** 2)
    return moved, speed, pull


@compiled()
def _list_all_pairs(position: Array, radius: Array, skin: float, first: Array, second: Array, reach: Array) -> int:
    n, count = radius.size, 0
    for i in range(n):
        x, y, r = position[2 * i], position[2 * i + 1], radius[i]
        for j in range(i + 1, n):
            dx, dy, contact = x - position[2 * j], y - position[2 * j + 1], r + radius[j]
            # Written whether near or not, and then kept or not: a branch would be mispredicted once a pair.
            first[count], second[count], reach[count] = 2 * i, 2 * j, contact
            count += dx * dx + dy * dy < (contact + skin) ** 2
    return count


@compiled()
def _list_by_cells(
    position: Array, radius: Array, skin: float, first: Array, second: Array, reach: Array, widest: float
) -> int:
    n, room, count = radius.size, first.size, 0
    x_low, y_low, x_high, y_high = np.inf, np.inf, -np.inf, -np.inf
    for i in range(n):
        x_low, x_high = min(x_low, position[2 * i]), max(x_high, position[2 * i])
        y_low, y_high = min(y_low, position[2 * i + 1]), max(y_high, position[2 * i + 1])
    width, height = x_high - x_low, y_high - y_low
    # In free space particles fly apart: the number of cells is bounded, not their size.
    most = int(np.sqrt(n)) + 1
    smallest = 2 * widest + skin
    cell_x, cell_y = max(smallest, width / most), max(smallest, height / most)
    n_x, n_y = int(width / cell_x) + 1, int(height / cell_y) + 1
    # Sorted by cell, the three neighbouring cells of one column are one stretch of `order`.
    cell, start = np.empty(n, np.int64), np.zeros(n_x * n_y + 1, np.int64)
    for i in range(n):
        cell[i] = int((position[2 * i] - x_low) / cell_x) * n_y + int((position[2 * i + 1] - y_low) / cell_y)
        start[cell[i] + 1] += 1
    for c in range(n_x * n_y):
        start[c + 1] += start[c]
    order, place = np.empty(n, np.uint32), start.copy()
    x_sorted, y_sorted = np.empty(n), np.empty(n)
    for i in range(n):
        p = place[cell[i]]
        place[cell[i]] += 1
        order[p], x_sorted[p], y_sorted[p] = i, position[2 * i], position[2 * i + 1]

    near = np.empty(n + 1, np.uint32)
    for i in range(n):
        x, y, r = position[2 * i], position[2 * i + 1], radius[i]
        column, row = cell[i] // n_y, cell[i] % n_y
        limit = (r + widest + skin) ** 2
        n_near = 0
        for c in range(max(column - 1, 0), min(column + 2, n_x)):
            for p in range(start[c * n_y + max(row - 1, 0)], start[c * n_y + min(row + 2, n_y)]):
                dx, dy = x - x_sorted[p], y - y_sorted[p]
                near[n_near] = order[p]
                n_near += (dx * dx + dy * dy < limit) & (order[p] > i)
        begin = count
        for q in range(n_near):
            j = near[q]
            dx, dy, contact = x - position[2 * j], y - position[2 * j + 1], r + radius[j]
            if dx * dx + dy * dy < (contact + skin) ** 2:
                if count < room:  # insert in ascending order
                    slot = count
                    while slot > begin and second[slot - 1] > 2 * j:
                        second[slot], reach[slot] = second[slot - 1], reach[slot - 1]
                        slot -= 1
                    first[count], second[slot], reach[slot] = 2 * i, 2 * j, contact
                count += 1
    return count


def widest_radius(radius: Array) -> float | None:
    """What :func:`list_pairs` is to know of the radii: the largest, or None where testing all pairs is faster."""
    return float(radius.max()) if radius.size >= CELL_LIST_FROM else None


@compiled()
def room_for_pairs(n: int) -> int:
    """Length of the arrays for :func:`list_pairs`: all pairs and one for few particles, a first guess for many."""
    return n * (n - 1) // 2 + 1 if n < CELL_LIST_FROM else 4 * n


@compiled()
def list_pairs(
    position: Array, radius: Array, skin: float, first: Array, second: Array, reach: Array, widest: float | None
) -> int:
    """Fill the pairs nearer than the sum of radii plus ``skin``; their number, which may exceed the arrays' room
    for many particles (see :func:`room_for_pairs`).

    ``first`` and ``second`` are indices of x coordinates, ``2 i < 2 j``, in lexicographic order; ``reach`` is the sum
    of radii. ``widest`` is the largest radius where cells pay, and None for few particles (see :func:`widest_radius`):
    being a matter of types, the cells are then not compiled, which takes as long as all pairs and the walls together.
    """
    if widest is None:
        return _list_all_pairs(position, radius, skin, first, second, reach)
    return _list_by_cells(position, radius, skin, first, second, reach, widest)


@compiled()
def _cheapest_skin(step: float, radius: float, packing: float) -> float:
    """The skin (length) at which a pair list costs least.

    Renewing the list costs as ``step / skin``, testing its pairs as their number, ``packing (2 + skin / radius)^2``:
    the sum is least where ``u^2 (2 + u)`` is proportional to ``step / (radius packing)``, ``u = skin / radius``. The
    factor was measured on sixteen systems, of 16 to 4096 discs at packings of 0.13 to 0.5; half or twice of it costs a
    few per cent. No skin is wider than the widest measured: discs may lie closer than the packing says.
    """
    wanted, u = 50 * step / (radius * packing), 1.0
    for _ in range(8):
        u = np.sqrt(wanted / (2 + u))
    return min(u, 4.0) * radius


@compiled()
def _list_walls(
    position: Array, radius: Array, box: Array, skin: float, coordinate: Array, wall: Array, sign: Array
) -> int:
    """Fill the particle-wall couples nearer than ``skin``: coordinate index, the wall's place, its normal's sign."""
    count = 0
    for k in range(position.size):
        r, far = radius[k // 2], box[k % 2]
        if position[k] - r < skin:
            coordinate[count], wall[count], sign[count] = k, 0.0, 1.0
            count += 1
        if far - position[k] - r < skin:
            coordinate[count], wall[count], sign[count] = k, far, -1.0
            count += 1
    return count


@compiled()
def _append_contacts(first: Array, second: Array, flags: Array, n_pairs: int, contacts: Array, count: int) -> tuple:
    """``contacts`` ``[room, 2]``, longer where needed, with the flagged pairs from row ``count`` on; the new count.

    A flag's lowest bit says that the pair touched in this interval. It is shifted out, and the next one, for the
    interval that follows, takes its place.
    """
    for p in range(n_pairs):
        if flags[p] & 1:
            if count == len(contacts):
                longer = np.empty((2 * count, 2), np.int32)
                for k in range(count):  # numba compiles seconds of error messages for an assignment of slices
                    longer[k, 0], longer[k, 1] = contacts[k, 0], contacts[k, 1]
                contacts = longer
            contacts[count, 0], contacts[count, 1] = first[p] >> 1, second[p] >> 1
            count += 1
        flags[p] >>= 1
    return contacts, count


@compiled()
def simulate_one(
    constants: Constants,
    positions: Array,
    velocities: Array,
    wall_contacts: Array,
    counts: Array,
    contacts: Array,
    count: int,
) -> tuple:
    """Fill one system's trajectory from its frame 0; whether it stayed physical, then ``contacts`` and ``count``.

    Args: ``constants`` of the system; ``positions``, ``velocities`` ``[n_intervals + 1, 2 n_particles]``;
    ``wall_contacts`` ``[n_intervals, n]``, False; ``contacts`` int32 ``[room, 2]``, whose first ``count`` rows are
    taken: the pairs ``i < j`` of each interval are appended, some of them twice where the pair list was renewed
    meanwhile, and ``counts`` ``[n_intervals]`` gets how many. The array that comes back is a longer one where the
    room did not do.
    """
    radius, mass, box, law = constants.radius, constants.mass, constants.box, constants.law
    pair_stiffness, pair_damping = constants.pair_stiffness, constants.pair_damping
    wall_stiffness, wall_damping = constants.wall_stiffness, constants.wall_damping
    gravity, walls, averaged = constants.gravity, constants.walls, constants.averaged
    n_substeps, dt, packing, typical = (
        constants.n_substeps,
        constants.dt,
        constants.packing,
        constants.radius.sum() / constants.radius.size,
    )
    n, n_intervals = radius.size, counts.size
    position, velocity = positions[0].copy(), velocities[0].copy()
    weight, acceleration = np.zeros(2 * n), np.zeros(2 * n)
    weight[1::2] = -gravity
    # The velocity that the dashpots see: LAMMPS takes the half-step velocity, the averaged scheme predicts.
    seen = np.empty(2 * n) if averaged else velocity

    # Unsigned indices spare numba the test for negative ones.
    listed_position = position.copy()
    # np.int64, for numba compiles a function anew for a literal.
    n_pairs, room = np.int64(0), room_for_pairs(n)
    first, second, hits = np.empty(room, np.uint32), np.empty(room, np.uint32), np.empty(room + 1, np.uint32)
    reach, flags = np.empty(room), np.zeros(room, np.uint8)
    n_near, coordinate = 0, np.empty(4 * n, np.uint32)
    wall, sign = np.empty(4 * n), np.empty(4 * n)
    trusted, margin, skin = 0, 0.0, 0.0

    for interval in range(n_intervals):
        begin = count
        # Substep 0 is the setup: forces at the initial state, nothing moves.
        done = -1 if interval == 0 else 0
        while done < n_substeps:
            if trusted == 0:
                moved, speed, pull = _fastest(position, listed_position, velocity, acceleration)
                # Speeds may rise before the next look: twice the fastest, and the strongest pull all along.
                bound = 2 * np.sqrt(speed) + (np.sqrt(pull) + abs(gravity)) * LONGEST_TRUST * dt
                step = bound * dt
                if not step < 1e6 * typical:
                    return False, contacts, count
                margin = step if averaged else 0.0
                # At rest one step, and another look: what overlaps may start to move.
                trust = (0.5 * (skin - step) - np.sqrt(moved)) / step if step > 0 else 1.0
                if trust < 1 or done < 0:
                    skin = max(_cheapest_skin(step, typical, packing), 5 * step)
                    contacts, count = _append_contacts(first, second, flags, n_pairs, contacts, count)
                    while True:
                        n_pairs = list_pairs(position, radius, skin, first, second, reach, constants.widest)
                        if n_pairs <= first.size:
                            break
                        room = 2 * n_pairs
                        first, second = np.empty(room, np.uint32), np.empty(room, np.uint32)
                        hits, reach = np.empty(room + 1, np.uint32), np.empty(room)
                        flags = np.zeros(room, np.uint8)
                    if walls:
                        n_near = _list_walls(position, radius, box, skin, coordinate, wall, sign)
                    for k in range(2 * n):
                        listed_position[k] = position[k]
                    trust = 0.5 * (skin - step) / step if step > 0 else 1.0
                trusted = int(min(trust, LONGEST_TRUST))
            block = min(trusted, n_substeps - done)
            trusted -= block
            for substep in range(done + 1, done + 1 + block):
                end_kick = 0.5 * dt if substep > 1 else 0.0
                start_kick = 0.5 * dt if substep > 0 else 0.0
                drift = dt if substep > 0 else 0.0

                # Contacts at an interval's end belong to it and to the next.
                shared = substep == n_substeps and interval + 1 < n_intervals
                flag = np.uint8(3 if shared else 1)
                wall_touched = wall_contacts[interval + 1 if shared else interval]

                if averaged:
                    for k in range(2 * n):
                        a = acceleration[k]
                        v = velocity[k] + end_kick * a + start_kick * a
                        velocity[k] = v
                        seen[k] = v + start_kick * a
                        position[k] += drift * v
                        acceleration[k] = weight[k]
                else:
                    for k in range(2 * n):
                        a = acceleration[k]
                        v = velocity[k] + end_kick * a + start_kick * a
                        velocity[k] = v
                        position[k] += drift * v
                        acceleration[k] = weight[k]

                for q in range(n_near):
                    k = coordinate[q]
                    r = radius[k >> 1]
                    overlap = r - sign[q] * (position[k] - wall[q])
                    if overlap > -margin:
                        approach = -sign[q] * seen[k]
                        depth, fraction = touch(overlap, approach, dt, averaged)
                        if fraction == 0:
                            continue
                        if depth > r:
                            return False, contacts, count
                        m = mass[k >> 1]
                        acceleration[k] += sign[q] * repulsion(
                            law, wall_stiffness / m, wall_damping, depth, fraction, approach
                        )
                        wall_touched[k >> 1] = True

                n_hits = 0
                for p in range(n_pairs):
                    i, j = first[p], second[p]
                    dx, dy = position[i] - position[j], position[i + 1] - position[j + 1]
                    contact = reach[p] + margin
                    hits[n_hits] = p
                    n_hits += dx * dx + dy * dy < contact * contact
                for q in range(n_hits):
                    p = hits[q]
                    i, j = first[p], second[p]
                    dx, dy = position[i] - position[j], position[i + 1] - position[j + 1]
                    distance = np.sqrt(dx * dx + dy * dy)
                    dx, dy = dx / distance, dy / distance
                    overlap = reach[p] - distance
                    approach = -(dx * (seen[i] - seen[j]) + dy * (seen[i + 1] - seen[j + 1]))
                    depth, fraction = touch(overlap, approach, dt, averaged)
                    if fraction == 0:
                        continue
                    a, b = i >> 1, j >> 1
                    if depth > min(radius[a], radius[b]):
                        return False, contacts, count
                    m_eff = mass[a] * mass[b] / (mass[a] + mass[b])
                    force = repulsion(law, pair_stiffness, m_eff * pair_damping, depth, fraction, approach)
                    f_a, f_b = force / mass[a], force / mass[b]
                    acceleration[i] += f_a * dx
                    acceleration[i + 1] += f_a * dy
                    acceleration[j] -= f_b * dx
                    acceleration[j + 1] -= f_b * dy
                    flags[p] |= flag
            done += block

        contacts, count = _append_contacts(first, second, flags, n_pairs, contacts, count)
        counts[interval] = count - begin
        if interval + 1 < n_intervals:
            for i in range(n):
                wall_contacts[interval, i] |= wall_contacts[interval + 1, i]
        for k in range(2 * n):
            velocity[k] += 0.5 * dt * acceleration[k]
            positions[interval + 1, k] = position[k]
            velocities[interval + 1, k] = velocity[k]
    return True, contacts, count


@compiled(nogil=True)
def simulate_all(
    constants: Constants, positions: Array, velocities: Array, wall_contacts: Array, counts: Array, sound: Array
) -> Array:
    """Every system in turn; the pairs in contact ``[contacts, 2]`` of all of them, interval by interval.

    ``sound[s]`` tells whether system ``s`` stayed physical; see :func:`simulate_one` for the rest.
    """
    contacts, count = np.empty((positions.shape[1] * positions.shape[2], 2), np.int32), np.int64(0)
    for s in range(positions.shape[0]):
        sound[s], contacts, count = simulate_one(
            constants, positions[s], velocities[s], wall_contacts[s], counts[s], contacts, count
        )
    return contacts[:count].copy()
