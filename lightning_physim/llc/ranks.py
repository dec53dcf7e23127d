"""Work shared by the processes of ``torch.distributed``, or done by one."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class Ranks:
    """Every method is a collective: all ranks call it, in the same order, or none.

    Args:
        shared: share the work among the ranks of the default process group, where there is one.
    """

    def __init__(self, shared: bool) -> None:
        self.shared = shared and dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if self.shared else 0
        self.world = dist.get_world_size() if self.shared else 1
        self.device = torch.device("cuda" if self.shared and dist.get_backend() == "nccl" else "cpu")

    def gather(self, mine: Any) -> list[Any]:
        """What each rank holds, on every rank."""
        if not self.shared:
            return [mine]
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, mine)
        return found

    def add(self, mine: Tensor) -> Tensor:
        """The sum over ranks, on every rank."""
        if self.shared:
            dist.all_reduce(mine := mine.clone())
        return mine

    def of_first(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rank zero's tensors, on every rank."""
        if self.shared:
            for tensor in tensors.values():
                dist.broadcast(tensor, src=0)
        return tensors

    def any(self, mine: bool) -> bool:
        """Whether one of the ranks says so, on every rank."""
        return bool(self.add(torch.tensor(int(mine), device=self.device))) if self.shared else mine

    def agreed(self, mine: float) -> float:
        """The largest of the ranks' numbers: what a decision may depend on that all have to take alike."""
        return max(self.gather(mine))


def seed_of(*key: Any) -> int:
    """A seed for a stream of random numbers of its own, the same on every machine."""
    from hashlib import blake2b

    return int.from_bytes(blake2b("/".join(map(str, key)).encode(), digest_size=7).digest(), "big")


def stream(device: torch.device, *key: Any) -> torch.Generator:
    """A generator that nobody else draws from."""
    return torch.Generator(device).manual_seed(seed_of(*key))
