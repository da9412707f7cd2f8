"""FGM: adversarial training on word embeddings (Miyato, Dai & Goodfellow 2017, arXiv:1605.07725)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipelines.core.errors import TrainingError


@contextmanager
def pushed(model: nn.Module, epsilon: float) -> Iterator[None]:
    """Inside, the word embeddings are moved by `epsilon` (Euclidean norm) up their gradient: what hurts the loss most."""
    words = embeddings(model).weight
    before = words.detach().clone()
    if words.grad is not None:
        norm = torch.linalg.vector_norm(words.grad).item()
        with torch.no_grad():
            words.add_(words.grad, alpha=epsilon / norm if norm else 0)
    try:
        yield
    finally:
        with torch.no_grad():
            words.copy_(before)


def embeddings(model: nn.Module) -> nn.Embedding:
    """The model's largest table of embeddings. Raises TrainingError where it has none that is trained."""
    tables = [part for part in model.modules() if isinstance(part, nn.Embedding) and part.weight.requires_grad]
    if not tables:
        raise TrainingError(f"{type(model).__name__} trains no embeddings: set adversarial_epsilon to 0")
    return max(tables, key=lambda table: table.weight.numel())
