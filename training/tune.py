"""What of a model is trained: all of it, all but its first layers (frozen), or low-rank additions to its layers (LoRA)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from pipelines.core.errors import TrainingError


@contextmanager
def frozen(model: nn.Module, layers: int) -> Iterator[None]:
    """Inside, the embeddings and the first `layers` layers of the longest stack of layers are not trained.

    Raises TrainingError where the model has fewer layers.
    """
    stack, n_layers = _stack(model)
    if layers > n_layers:
        raise TrainingError(f"frozen_layers is {layers}, but {type(model).__name__} has {n_layers} layers: take fewer")
    names = [name for name, _ in model.named_parameters()]
    first_kept = next(
        (
            place
            for place, name in enumerate(names)
            if name.startswith(stack) and int(name[len(stack) :].split(".")[0]) >= layers
        ),
        1 + max(place for place, name in enumerate(names) if name.startswith(stack)),
    )
    with _untrained(model, names[:first_kept]):
        yield


@contextmanager
def lora(model: nn.Module, rank: int, seed: int) -> Iterator[None]:
    """Inside, low-rank additions to all linear maps of the stack of layers are trained, and the head as it is.

    At the end the additions are merged into the weights: the model has the same parts as before. Hu et al. 2021,
    arXiv:2106.09685, with alpha = 2 rank.
    """
    from peft import LoraConfig, LoraModel

    stack, _ = _stack(model)
    head = [name for name, _ in model.named_parameters()]
    head = head[1 + max(place for place, name in enumerate(head) if name.startswith(stack)) :]
    targets = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and name.startswith(stack)]
    torch.manual_seed(seed)
    with _untrained(model, []):
        tuner = LoraModel(
            model, {"default": LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets)}, "default"
        )
        for name, parameter in model.named_parameters():
            if name in head:
                parameter.requires_grad = True
        try:
            yield
        finally:
            tuner.merge_and_unload()


def _stack(model: nn.Module) -> tuple[str, int]:
    """Prefix of the parameters of the longest list of modules, and its length. Raises TrainingError."""
    stacks = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part)]
    if not stacks:
        raise TrainingError(f"{type(model).__name__} has no stack of layers: train it with tune=full")
    name, part = max(stacks, key=lambda stack: len(stack[1]))
    return f"{name}.", len(part)


@contextmanager
def _untrained(model: nn.Module, names: list[str]) -> Iterator[None]:
    """Inside, the named parameters get no gradient; at the end all that did, do again."""
    before = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    for name in names:
        model.get_parameter(name).requires_grad = False
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = before[name]
