import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from lightning_physim.errors import InputError
from lightning_physim.model import PhysicsTransformer, rollout
from lightning_physim.model.transformer import Attention
from lightning_physim.target import ResidualTarget, free_flight


def network(**options) -> PhysicsTransformer:
    torch.manual_seed(0)
    return PhysicsTransformer(**options)


@pytest.mark.parametrize("layers, parameters", [(1, 11_140), (2, 19_684)])
def test_size_is_that_of_the_measured_prototype(layers, parameters):
    assert sum(p.numel() for p in network(n_layers=layers).parameters()) == parameters


@pytest.mark.parametrize(
    "options", [{}, {"attend_self": True}, {"norm": "rms", "embedding": "linear"}, {"norm": "none", "n_layers": 0}]
)
def test_permuting_particles_permutes_the_prediction(options):
    net, state, order = network(**options).double(), torch.randn(3, 7, 4).double(), torch.randperm(7)
    torch.testing.assert_close(net(state)[:, order], net(state[:, order]))


def plain_heads(attention: Attention, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values ``[systems, heads, particles, d_head]``, by slices of the weights."""
    heads = []
    for weight, bias in zip(attention.qkv.weight.chunk(3), attention.qkv.bias.chunk(3), strict=True):
        projected = (x @ weight.T + bias).chunk(attention.n_heads, dim=-1)
        heads.append(torch.stack(projected, dim=1))
    return tuple(heads)


def plain_attention(attention: Attention, x: torch.Tensor) -> torch.Tensor:
    """The layer as PyTorch's own attention computes it, head by head side by side."""
    particles = x.shape[1]
    visible = torch.ones(particles, particles, dtype=torch.bool)
    if not attention.attend_self and particles > 1:
        visible.fill_diagonal_(False)
    mixed = scaled_dot_product_attention(*plain_heads(attention, x), attn_mask=visible)
    return attention.output(torch.cat(mixed.unbind(1), dim=-1))


@pytest.mark.parametrize("particles", [1, 2, 9, 40])
@pytest.mark.parametrize("attend_self", [False, True])
def test_attention_and_its_gradients_are_those_of_the_plain_formula(attend_self, particles):
    attention = Attention(32, 4, attend_self).double()
    x, weight = torch.randn(5, particles, 32).double(), torch.randn(5, particles, 32).double()
    torch.testing.assert_close(attention(x), plain_attention(attention, x))

    class Plain(Attention):
        forward = plain_attention

    def loss(parameters, x, layer):
        return (torch.func.functional_call(layer, parameters, x) * weight).sum()

    parameters = dict(attention.named_parameters())
    theirs = torch.func.grad(loss, argnums=(0, 1))(parameters, x, Plain(32, 4, attend_self).double())
    torch.testing.assert_close(torch.func.grad(loss, argnums=(0, 1))(parameters, x, attention), theirs)
    loss(parameters, x.requires_grad_(), attention).backward()
    torch.testing.assert_close(({name: p.grad for name, p in parameters.items()}, x.grad), theirs)


@pytest.mark.parametrize("particles", [6, 40])
@pytest.mark.parametrize("attend_self", [False, True])
def test_the_pieces_of_a_layer_are_consistent_with_its_forward(attend_self, particles):
    attention = Attention(32, 4, attend_self).double()
    x, hidden = torch.randn(3, particles, 32).double(), torch.rand(3, particles, particles) < 0.3
    output = attention(x)
    _, _, value = plain_heads(attention, x)
    mixed = attention.pattern(x) @ value
    torch.testing.assert_close(attention.output(torch.cat(mixed.unbind(1), dim=-1)), output)
    heads = []
    for head in range(4):
        masks = attention.head_masks(head)
        heads.append(
            attention.head_output(x, {name: attention.get_parameter(name)[mask] for name, mask in masks.items()})
        )
    torch.testing.assert_close(sum(heads) + attention.output.bias, output)
    silent = attention.blinded(x, torch.ones_like(hidden))
    for head in range(4):
        torch.testing.assert_close(silent[head], output - heads[head])
    torch.testing.assert_close(attention.blinded(x, torch.zeros_like(hidden)), output.expand(4, -1, -1, -1))
    assert not torch.allclose(attention.blinded(x, hidden)[0], output)


def test_attention_rows_sum_to_one_and_leave_out_self():
    state = torch.randn(3, 6, 4)
    pattern = network(n_layers=2).attention(state)
    assert pattern.shape == (2, 3, 4, 6, 6)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 3, 4, 6))
    assert pattern.diagonal(dim1=-2, dim2=-1).abs().max() == 0
    assert network(attend_self=True).attention(state).diagonal(dim1=-2, dim2=-1).min() > 0


def test_each_layer_is_seen_after_the_layers_below_it():
    net, state = network(n_layers=2), torch.randn(2, 5, 4)
    shallow = network(n_layers=2)
    shallow.load_state_dict(net.state_dict())
    with torch.no_grad():
        shallow.blocks[0].mlp[2].weight.mul_(2.0)
    before, after = net.attention(state), shallow.attention(state)
    torch.testing.assert_close(before[0], after[0])
    assert not torch.allclose(before[1], after[1])


def test_attention_is_the_only_path_between_particles():
    state = torch.randn(1, 5, 4, requires_grad=True)
    (grad,) = torch.autograd.grad(network(n_layers=0)(state)[0, 2].sum(), state)
    assert grad[0, [0, 1, 3, 4]].abs().max() == 0
    (grad,) = torch.autograd.grad(network()(state)[0, 2].sum(), state)
    assert grad[0, [0, 1, 3, 4]].abs().min() > 0


def blinded_by_hand(net: PhysicsTransformer, state: torch.Tensor, hidden: torch.Tensor, layer: int, head: int):
    """The network with the pattern of one head edited, one query at a time: what :meth:`ablate` is defined as."""
    x = net.embedding(net.target.standardize(state))
    for number, block in enumerate(net.blocks):
        normed = block.attention_norm(x)
        pattern = block.attention.pattern(normed).clone()
        if number == layer:
            for s, q in np.ndindex(pattern.shape[0], pattern.shape[2]):
                row = pattern[s, head, q] * ~hidden[s, q]
                pattern[s, head, q] = row / row.sum() if row.sum() > 0 else row
        _, _, value = plain_heads(block.attention, normed)
        x = x + block.attention.output((pattern @ value).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.mlp_norm(x))
    return net.readout(net.norm(x))


@pytest.mark.parametrize("attend_self", [False, True])
def test_ablation_edits_the_attention_of_one_head_at_a_time(attend_self):
    net, state = network(n_layers=3, n_heads=2, attend_self=attend_self).double(), torch.randn(4, 6, 4).double()
    hidden = torch.rand(4, 6, 6) < 0.3
    hidden[0, 2] = True  # nothing left to attend to
    intact, ablated = net.ablate(state, hidden)
    assert ablated.shape == (3, 2, 4, 6, 4)
    torch.testing.assert_close(intact, net(state))
    for layer, head in np.ndindex(3, 2):
        torch.testing.assert_close(ablated[layer, head], blinded_by_hand(net, state, hidden, layer, head))
    assert not torch.allclose(ablated[0, 0], intact)


def test_hiding_nothing_changes_nothing_and_hiding_all_silences_the_head():
    net, state = network(n_layers=1).double(), torch.randn(2, 5, 4).double()
    intact, ablated = net.ablate(state, torch.zeros(2, 5, 5, dtype=torch.bool))
    torch.testing.assert_close(ablated, intact.expand_as(ablated))
    _, ablated = net.ablate(state, torch.ones(2, 5, 5, dtype=torch.bool))
    with torch.no_grad():  # head 1 adds nothing
        net.blocks[0].attention.output.weight[:, 8:16] = 0
    torch.testing.assert_close(ablated[0, 1], net(state))
    assert network().ablate(torch.randn(0, 5, 4), torch.ones(0, 5, 5, dtype=torch.bool))[1].shape == (2, 4, 0, 5, 4)
    with pytest.raises(InputError, match="at least one layer"):
        network(n_layers=0).ablate(state.float(), torch.ones(2, 5, 5, dtype=torch.bool))


def test_lone_particles_and_empty_batches_have_finite_predictions():
    assert torch.isfinite(network()(torch.randn(2, 1, 4))).all()
    assert network()(torch.randn(0, 5, 4)).shape == (0, 5, 4)
    assert network().attention(torch.randn(0, 5, 4)).shape == (2, 0, 4, 5, 5)


def test_rollout_applies_the_network_to_its_own_output():
    net, state = network(), torch.rand(2, 3, 4)
    net.target.load_state_dict(ResidualTarget(interval=0.1, gravity=1.0).state_dict())
    path = rollout(net, state, 3)
    assert path.shape == (2, 4, 3, 4)
    torch.testing.assert_close(path[:, 3], net.step(net.step(net.step(state))).detach())


def test_a_network_that_predicts_nothing_flies_freely_under_the_given_gravity():
    net, state = network(), torch.rand(2, 3, 4)
    net.target.load_state_dict(ResidualTarget(interval=0.1, gravity=1.0).state_dict())
    torch.nn.init.zeros_(net.readout.weight)
    torch.nn.init.zeros_(net.readout.bias)
    gravity = torch.tensor(3.0)
    torch.testing.assert_close(rollout(net, state, 4, gravity)[:, -1], free_flight(state, 0.4, 3.0))


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"n_heads": 5}, "n_heads must divide d_model=32; got n_heads=5"),
        ({"n_layers": -1}, "n_layers must not be negative"),
        ({"d_mlp": 0}, "d_mlp must be at least 1"),
        ({"norm": "batch"}, "norm must be one of layer, rms, none"),
        ({"embedding": "fourier"}, "embedding must be one of mlp, linear; got"),
    ],
)
def test_bad_sizes_are_refused_with_the_rule(options, rule):
    with pytest.raises(InputError, match=rule):
        PhysicsTransformer(**options)


def patched_by_hand(net, state, other, layer, head):
    """The network with what one head hands to the layer's output taken from another state, by hooks."""
    output, width = net.blocks[layer].attention.output, net.blocks[layer].attention.output.in_features // 2
    given = []
    with output.register_forward_pre_hook(lambda _, args: given.append(args[0].clone())):
        net(other)

    def replaced(_, args):
        mixed = args[0].clone()
        mixed[..., head * width : (head + 1) * width] = given[0][..., head * width : (head + 1) * width]
        return (mixed,)

    with output.register_forward_pre_hook(replaced):
        return net(state)


def test_patching_is_replacing_what_a_head_hands_to_the_output():
    net = network(n_layers=2, n_heads=2, d_model=16).double()
    state, other = torch.randn(2, 3, 5, 4).double()
    intact, patched = net.patch(state, other)
    torch.testing.assert_close(intact, net(state))
    assert patched.shape == (2, 2, 3, 5, 4)
    for layer, head in np.ndindex(2, 2):
        torch.testing.assert_close(patched[layer, head], patched_by_hand(net, state, other, layer, head))
    torch.testing.assert_close(net.patch(state, state)[1], intact.expand_as(patched))


def test_attention_is_the_softmax_of_the_logits():
    net, state = network(n_layers=2, n_heads=2).double(), torch.randn(3, 5, 4).double()
    logits = net.logits(state)
    torch.testing.assert_close(logits.softmax(-1), net.attention(state))
    assert (logits.diagonal(dim1=-2, dim2=-1) == -torch.inf).all()
    layer = net.blocks[0].attention
    query, key, _ = plain_heads(layer, net.blocks[0].attention_norm(net.embed(state)))
    product = query @ key.mT / query.shape[-1] ** 0.5
    apart = ~torch.eye(5, dtype=torch.bool)
    torch.testing.assert_close(logits[0][..., apart], product[..., apart])
