"""EfficientNet-Lite0: what a picture shows, as 1,280 numbers (Tan and Le 2019; the Lite variants are Google's, 2020).

    net = PictureNet.load(resolve(PICTURES, cache))
    vectors = net(pixels)                                   # (n, 3, 224, 224) -> (n, 1280)

Only what is needed to use it: batch norms are folded into the convolutions when the weights are converted
(training/convert.py), so that a layer is a convolution with a bias, cut off at 0 and 6.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pipelines.core.errors import WeightsError

SIDE: Final = 224  # pixels
WIDTH: Final = 1_280
MEAN, SPREAD = 127.0, 128.0  # that 0 to 255 are centred and divided by
_STEM: Final = 32
# Stages: how many blocks, kernel, stride of the first, how many times wider inside, width.
STAGES: Final = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip


class _Conv(nn.Conv2d):
    """A convolution whose output has 1/stride of the input's side: odd padding goes right and below, as TensorFlow's."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        total = kernel - stride
        self.margins = (total // 2, total - total // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(x, self.margins) if any(self.margins) else x)


class _Block(nn.Module):
    """Wider, each channel for itself, narrower again; with what came in on top where the shape stays (MobileNetV2)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, times: int) -> None:
        super().__init__()
        inner = inputs * times
        self.expand = _Conv(inputs, inner, 1) if times > 1 else None
        self.depthwise = _Conv(inner, inner, kernel, stride, groups=inner)
        self.project = _Conv(inner, outputs, 1)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = nn.functional.relu6(self.expand(x)) if self.expand is not None else x
        found: Tensor = self.project(nn.functional.relu6(self.depthwise(wide)))
        return x + found if self.is_residual else found


class PictureNet(nn.Module):
    """The whole net; `forward` stops before the classifier of ImageNet's 1,000 kinds, `logits` goes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(3, _STEM, 3, 2)
        blocks, width = [], _STEM
        for count, kernel, stride, times, outputs in STAGES:
            for place in range(count):
                blocks.append(_Block(width, outputs, kernel, 1 if place else stride, times))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _Conv(width, WIDTH, 1)
        self.classifier = nn.Linear(WIDTH, 1_000)

    def forward(self, pixels: Tensor) -> Tensor:
        """(n, 3, SIDE, SIDE), already centred and divided -> (n, WIDTH), 0 to 6."""
        x = self.blocks(nn.functional.relu6(self.stem(pixels)))
        return nn.functional.relu6(self.head(x)).mean(dim=(2, 3))

    def logits(self, pixels: Tensor) -> Tensor:
        """(n, 1000)."""
        found: Tensor = self.classifier(self(pixels))
        return found

    @classmethod
    def load(cls, folder: Path) -> "PictureNet":
        """From a resolved folder (training/weights.py). Raises WeightsError where it holds another model."""
        net = cls()
        try:
            net.load_state_dict(load_file(folder / "model.safetensors"))
        except (OSError, RuntimeError, SafetensorError) as error:
            why = str(error).partition("\n")[0]
            raise WeightsError(f"weights {folder}: no EfficientNet-Lite0 ({why}); delete that folder") from error
        return net.eval()


def folded(told: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of a PictureNet from that of a net with batch norms (efficientnet_lite_pytorch's names): each norm's scale goes
    into the weights before it, its shift becomes the bias. Raises KeyError where a tensor is missing."""

    def both(name: str, conv: str, norm: str) -> dict[str, Tensor]:
        weight, scale = told[f"{conv}.weight"].double(), told[f"{norm}.weight"].double()
        scale = scale / torch.sqrt(told[f"{norm}.running_var"].double() + 1e-3)  # as it was trained
        bias = told[f"{norm}.bias"].double() - told[f"{norm}.running_mean"].double() * scale
        return {f"{name}.weight": (weight * scale[:, None, None, None]).float(), f"{name}.bias": bias.float()}

    found = both("stem", "_conv_stem", "_bn0") | both("head", "_conv_head", "_bn1")
    times = [stage[3] for stage in STAGES for _ in range(stage[0])]
    for place, wider in enumerate(times):
        to, of = f"blocks.{place}", f"_blocks.{place}"
        if wider > 1:
            found |= both(f"{to}.expand", f"{of}._expand_conv", f"{of}._bn0")
        found |= both(f"{to}.depthwise", f"{of}._depthwise_conv", f"{of}._bn1")
        found |= both(f"{to}.project", f"{of}._project_conv", f"{of}._bn2")
    return found | {f"classifier.{part}": told[f"_fc.{part}"].clone() for part in ("weight", "bias")}
