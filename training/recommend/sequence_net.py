"""The net of training/recommend/sequence.py: causal self-attention over events, scored by the vectors that it reads."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from training.loop import IGNORED
from training.recommend.interactions import BEHAVIOURS

GAPS: Final = 26  # buckets of the time since the event before, each twice as wide as the last: 1 s to a year
_SAMPLED: Final = 4_096  # rivals of a target where items are many


@dataclass(frozen=True)
class Shape:
    """How large a net is, and how much of a history it sees."""

    width: int = 64
    layers: int = 1
    heads: int = 1
    dropout: float = 0.3
    longest: int = 50  # events of a history, the newest
    sampled_from: int = 20_000  # items from which on the loss is over a sample of them


class SequenceNet(nn.Module):
    """Losses and reciprocal ranks of targets while it learns; `states` and `vectors` for scoring."""

    category_of: Tensor  # (n_items,)
    share: Tensor  # (n_items,) of all events
    is_known: Tensor  # (n_items,) whether there are events of it

    def __init__(self, shape: Shape, vectors: np.ndarray, category: np.ndarray, events: np.ndarray) -> None:
        """vectors: (n_items, width) where items start; category: (n_items,) codes, all 0 where there are none; events:
        (n_items,) of each. Items without any are nobody's rivals, so that their category alone speaks for them."""
        super().__init__()
        n_items, width = vectors.shape
        self.item = nn.Embedding(n_items, width)
        self.category = nn.Embedding(int(category.max(initial=0)) + 1, width)
        self.behaviour = nn.Embedding(len(BEHAVIOURS), width)
        self.gap = nn.Embedding(GAPS, width)
        self.place = nn.Embedding(shape.longest, width)
        for part in (self.item, self.category, self.behaviour, self.gap, self.place):
            nn.init.normal_(part.weight, std=0.03)
        share = torch.from_numpy(((events + 0.5) / (events + 0.5).sum()).astype(np.float32))
        self.register_buffer("is_known", torch.from_numpy(events > 0))
        with torch.no_grad():
            self.item.weight.add_(torch.from_numpy(vectors.astype(np.float32))).mul_(self.is_known[:, None])
        self.bias = nn.Parameter(share.log())
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(width)
        self.dropout, self.dropout_out = nn.Dropout(shape.dropout), nn.Dropout(shape.dropout)
        self.is_sampled = n_items >= shape.sampled_from
        self.register_buffer("category_of", torch.from_numpy(category.astype(np.int64)))
        self.register_buffer("share", share * self.is_known)

    def states(self, input_ids: Tensor, behaviour: Tensor, gap: Tensor) -> Tensor:
        """(b, l, width) after each event. input_ids: (b, l) 1 + item, 0 behind the end; nothing sees what comes later."""
        told = self.vectors((input_ids - 1).clamp(min=0)) + self.behaviour(behaviour) + self.gap(gap)
        state = self.dropout(told + self.place.weight[: input_ids.shape[1]])
        for block in self.blocks:
            state = block(state)
        return self.norm(state)

    def vectors(self, item: Tensor) -> Tensor:
        """(..., width) of places of items."""
        return self.item(item) + self.category(self.category_of[item])

    def all_vectors(self) -> Tensor:
        """(n_items, width)."""
        return self.item.weight + self.category(self.category_of)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, behaviour: Tensor, gap: Tensor, target: Tensor
    ) -> tuple[Tensor]:
        """(b, l, 2): loss of the item that came next and, in evaluation, its reciprocal rank; 0 where none is asked."""
        asked = target != IGNORED
        state, wanted = self.dropout_out(self.states(input_ids, behaviour, gap)[asked]), target[asked]
        loss, reciprocal = (
            self._sampled(state, wanted) if self.training and self.is_sampled else self._full(state, wanted)
        )
        found = torch.zeros((*target.shape, 2), device=target.device)
        found[asked] = torch.stack([loss, reciprocal], dim=-1)
        return (found,)

    def _full(self, state: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        logits = (state @ self.all_vectors().T + self.bias).float().masked_fill(~self.is_known, -torch.inf)
        loss = nn.functional.cross_entropy(logits, wanted, reduction="none")
        if self.training:
            return loss, torch.zeros_like(loss)
        return loss, 1 / (logits > logits.gather(1, wanted[:, None])).sum(1).add(1)

    def _sampled(self, state: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Against rivals drawn by their share, the same for all; a target among them is not its own rival."""
        drawn = torch.multinomial(self.share, _SAMPLED, replacement=True)
        rivals = (state @ self.vectors(drawn).T + self.bias[drawn]).float() - (self.share[drawn] * _SAMPLED).log()
        rivals = rivals.masked_fill(drawn == wanted[:, None], -torch.inf)
        own = ((state * self.vectors(wanted)).sum(1) + self.bias[wanted]).float()
        loss = torch.logsumexp(torch.cat([own[:, None], rivals], dim=1), dim=1) - own
        return loss, torch.zeros_like(loss)


class LastState(nn.Module):
    """(b, width): the state after the last event of each row."""

    def __init__(self, net: SequenceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, input_ids: Tensor, attention_mask: Tensor, behaviour: Tensor, gap: Tensor) -> tuple[Tensor]:
        state = self.net.states(input_ids, behaviour, gap)
        return (state[torch.arange(len(state)), attention_mask.sum(1) - 1],)


class _Block(nn.Module):
    """Attention to what came before, then two layers on each event alone; norms stand before them."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.heads = shape.heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.alone = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(shape.dropout), nn.Linear(2 * width, width)
        )
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, state: Tensor) -> Tensor:
        rows, length, width = state.shape
        parts = self.mixed(self.before(state)).view(rows, length, 3, self.heads, width // self.heads)
        asked, known, told = parts.permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(asked, known, told, is_causal=True)
        state = state + self.dropout(self.joined(seen.transpose(1, 2).reshape(rows, length, width)))
        return state + self.dropout(self.alone(self.between(state)))
