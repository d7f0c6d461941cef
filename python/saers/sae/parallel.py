"""Processes that train one autoencoder together, each on a part of every batch.

Started by ``torchrun``: every process reads the same stream, takes its own rows of each batch and
adds its gradients to those of the others. What is selected, counted and clipped is that of the
whole batch, so that the weights are those of one process up to the rounding of sums.
"""

import os
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor

_Rows = TypeVar("_Rows", Tensor, npt.NDArray[np.int64])


class Crew:
    """The processes of a run; by itself a process is a crew of one.

    Examples
    --------
    >>> Crew().size, Crew().part(torch.arange(4)).tolist()
    (1, [0, 1, 2, 3])
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    def part(self, rows: _Rows) -> _Rows:
        """Take this process's share of the rows of a batch."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """Add up what each process has, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, marks: Tensor) -> Tensor:
        """Tell what is marked (bool) by any process."""
        if self.size == 1:
            return marks
        counts = marks.to(torch.int32)
        dist.all_reduce(counts, op=dist.ReduceOp.MAX)
        return counts.bool()

    def threshold(self, largest: Tensor, count: int) -> Tensor:
        """Find the ``count``-th largest value of all processes; 0 where there are fewer.

        Parameters
        ----------
        largest
            The largest values of this process, as many of ``count`` as it has.
        count
            Values to keep of those of all processes.
        """
        padded = largest.new_zeros(count)
        padded[: len(largest)] = largest
        if self.size > 1:
            parts = [torch.empty_like(padded) for _ in range(self.size)]
            dist.all_gather(parts, padded)
            padded = torch.cat(parts)
        return torch.topk(padded, count, sorted=False).values.amin()

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()


def join_crew(device: torch.device) -> tuple[Crew, torch.device]:
    """Join the processes that ``torchrun`` started, each on a GPU of its own.

    Returns
    -------
    Crew
        All of them; one alone where ``torchrun`` was not used.
    torch.device
        ``device``, with this process's number where it is a GPU without one.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Crew(), device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Crew(dist.get_rank(), dist.get_world_size()), device
