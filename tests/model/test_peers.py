"""The networks to compare with: what they can see, and that their size and their symmetries are as told."""

import pytest
import torch

from lightning_physim import ParticleDataModule, ParticleSystem, PhysicsSimulator, rollout
from lightning_physim.errors import InputError
from lightning_physim.model import InteractionNetwork, ParticlewiseNetwork, PhysicsTransformer


def interaction(contact_distance: float = 0.2, **options) -> InteractionNetwork:
    torch.manual_seed(0)
    network = InteractionNetwork(**options)
    network.contact_distance.fill_(contact_distance)
    return network


def size(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_sizes_are_near_the_transformers():
    assert size(ParticlewiseNetwork()) == 19_428 and size(InteractionNetwork()) == 22_116
    for options in ({"n_layers": 1}, {"d_model": 64, "d_mlp": 128}, {"n_layers": 4, "norm": "rms"}):
        assert size(ParticlewiseNetwork(**options)) == pytest.approx(size(PhysicsTransformer(**options)), rel=0.03)


@pytest.mark.parametrize(
    "make", [ParticlewiseNetwork, interaction, lambda: interaction(embedding="linear", norm="rms", n_layers=3)]
)
def test_permuting_particles_permutes_the_prediction_and_any_number_will_do(make):
    network = make().double()
    for n in (1, 2, 7, 20):
        state, order = torch.rand(3, n, 4).double(), torch.randperm(n)
        torch.testing.assert_close(network(state)[:, order], network(state[:, order]))
    assert network(torch.rand(0, 5, 4).double()).shape == (0, 5, 4)
    assert rollout(network, torch.rand(2, 5, 4).double(), 3).shape == (2, 4, 5, 4)


def test_without_attention_a_particle_sees_itself_alone():
    torch.manual_seed(0)
    state = torch.randn(1, 5, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(ParticlewiseNetwork()(state)[0, 2].sum(), state)
    assert grad[0, [0, 1, 3, 4]].abs().max() == 0 and grad[0, 2].abs().min() > 0


def test_messages_travel_one_cutoff_a_round_and_not_to_other_systems():
    network = interaction(contact_distance=0.2, cutoff=2.5, n_layers=2)  # reach 0.5
    state = torch.zeros(2, 5, 4)
    state[..., 0] = torch.tensor([0.0, 0.4, 0.8, 1.2, 1.8])
    state.requires_grad_()
    (grad,) = torch.autograd.grad(network(state)[0, 0].sum(), state)
    seen = grad.abs().sum(-1) > 0
    assert seen[0].tolist() == [True, True, True, False, False]
    assert not seen[1].any()
    (grad,) = torch.autograd.grad(network(state)[1, 0].sum(), state)
    assert torch.equal(grad.abs().sum(-1) > 0, seen.flip(0))
    (grad,) = torch.autograd.grad(network(state)[0, 4].sum(), state)
    assert (grad[0].abs().sum(-1) > 0).tolist() == [False, False, False, False, True]


def test_pairs_are_relative_and_told_in_contact_diameters():
    network = interaction(contact_distance=0.2, cutoff=2.5)
    state = torch.tensor([[[0.0, 0.0, 1.0, 0.0], [0.3, 0.4 - 1e-3, 0.0, 2.0], [5.0, 5.0, 0.0, 0.0]]])
    receiver, sender, features = network.pairs(state)
    assert (receiver.tolist(), sender.tolist()) == ([0, 1], [1, 0])
    torch.testing.assert_close(features[0], torch.tensor([1.5, 1.995, -1.0, 2.0, 2.496]), atol=1e-4, rtol=0)
    torch.testing.assert_close(features[1, :4], -features[0, :4])
    moved = network.pairs(state + torch.tensor([3.0, -2.0, 1.0, 1.0]))[2]
    torch.testing.assert_close(moved, features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "make, rule",
    [
        (lambda: InteractionNetwork(cutoff=0.0), "cutoff must be positive"),
        (lambda: InteractionNetwork(n_layers=0), "n_layers must be at least 1; got 0"),
        (lambda: ParticlewiseNetwork(n_layers=-1), "n_layers must not be negative"),
        (lambda: ParticlewiseNetwork(d_mlp=0), "d_mlp must be at least 1"),
        (
            lambda: PhysicsSimulator(architecture="rnn"),
            "one of transformer, no_attention, interaction",
        ),
    ],
)
def test_bad_options_are_refused_with_the_rule(make, rule):
    with pytest.raises(InputError, match=rule):
        make()


def test_a_module_has_attention_only_where_its_network_has():
    assert hasattr(PhysicsSimulator(), "attention") and hasattr(PhysicsSimulator(), "ablate")
    for architecture in ("no_attention", "interaction"):
        module = PhysicsSimulator(architecture=architecture)
        assert not hasattr(module, "attention") and not hasattr(module, "ablate")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ParticleDataModule:
    system = ParticleSystem(n_particles=8, box=(1.0, 1.0), radius=0.07, restitution=0.8, gravity=1.0, interval=0.1)
    data = ParticleDataModule(
        system, n_train=400, n_val=20, n_test=1, n_intervals=10, velocity_std=0.7, ood={},
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )  # fmt: skip
    data.prepare_data()
    data.setup()
    return data


def fitted(network: torch.nn.Module, data: ParticleDataModule, batches: list, steps: int) -> None:
    network.target.load_state_dict(data.target.state_dict())
    if isinstance(network, InteractionNetwork):
        network.contact_distance.copy_(data.contact_distance.max())
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(steps):
        batch = batches[step % len(batches)]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(batch.states[:, 0]), batch.targets[:, 0]).backward()
        optimizer.step()


def test_the_interaction_network_learns_a_batch_by_heart(data):
    network, batch = interaction(), data.split("train")[list(range(0, 160, 10))]
    fitted(network, data, [batch], 600)
    assert torch.nn.functional.mse_loss(network(batch.states[:, 0]), batch.targets[:, 0]) < 0.05


@pytest.mark.slow
def test_the_interaction_network_breaks_the_floor_that_the_particlewise_cannot(data):
    val = data.split("val")[list(range(20))]
    known = val.evaluation
    touched = known.colliding
    floor = torch.nn.functional.mse_loss(known.no_pair[touched], val.targets[touched])
    losses = []
    for network in (interaction(), ParticlewiseNetwork()):
        fitted(network, data, [batch for _ in range(20) for batch in data.train_dataloader()], 1200)
        prediction = network(val.states[:, :-1].flatten(0, 1)).view_as(val.targets)
        losses.append(torch.nn.functional.mse_loss(prediction[touched], val.targets[touched]) / floor)
    assert losses[0] < 0.6 and losses[1] > 0.75, losses
