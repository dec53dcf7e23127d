"""``--model=CLASS``: a network of the user's own in place of ours."""

from importlib import import_module
from typing import Any

from pytorch_lightning import LightningModule

from lightning_physim.errors import InputError

OFFERS = (
    "a LightningModule with training_step(batch, batch_idx) and configure_optimizers(); validation_step, "
    "estimation_loss(batch), estimation_residuals(batch), attention(states) and torch.nn.MultiheadAttention are used "
    "where it has them"
)
SECTION = ("class_path", "init_args")
"""What the section of such a network holds."""


def with_own_network(config: dict[str, Any], words: list[str]) -> tuple[dict[str, Any], bool]:
    """The configuration less the options of our network, where the command line or a file names another one.

    Args:
        config: of a command.
        words: of its command line.

    Returns:
        The configuration, and whether the network is another one.

    Raises:
        InputError: what is named is no network.
    """
    section = config.get("model") or {}
    named = [following(word, words[i + 1 :]) for i, word in enumerate(words) if word.partition("=")[0] == "--model"]
    # A mapping without a class holds options of our network.
    named = [value for value in named if not value.startswith("{") or "class_path" in value]
    path = named[-1] if named else section.get("class_path")
    if path is None:
        return config, False
    if not path.startswith("{"):
        _check(path)
    others = {name: content for name, content in config.items() if name != "model"}
    return (others if named else others | {"model": {key: section[key] for key in SECTION if key in section}}), True


def following(word: str, rest: list[str]) -> str:
    """The value of an option: ``--model=VALUE``, or the word after ``--model``."""
    _, equals, value = word.partition("=")
    return value if equals else rest[0] if rest else ""


def require_prediction(network: LightningModule) -> None:
    """Refuse a network that does not say what it predicts: Lightning would call it with a whole batch.

    Raises:
        InputError: it has no ``predict_step`` of its own.
    """
    if "predict_step" not in _defined(type(network)):
        raise InputError(
            "physim predict needs a network with predict_step(batch, batch_idx); "
            f"got {type(network).__name__} without: define it, or take the network from lightning_physim.Run"
        )


def _check(path: str) -> None:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name) if module else None
    except (ImportError, AttributeError) as error:
        raise InputError(f"--model takes the path of a class, such as my.Network; got {path}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, LightningModule)):
        raise InputError(f"--model takes the path of {OFFERS}; got {path}")
    missing = [name for name in ("training_step", "configure_optimizers") if name not in _defined(found)]
    if missing:
        raise InputError(f"--model takes {OFFERS}; {path} lacks {missing[0]}")


def _defined(network: type[LightningModule]) -> set[str]:
    """What a class defines beyond Lightning's own."""
    own = [parent for parent in network.__mro__ if not parent.__module__.startswith("pytorch_lightning.core")]
    return {name for parent in own for name in vars(parent)}
