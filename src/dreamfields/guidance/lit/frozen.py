"""A frozen network as one differentiable function: only images get gradients, which saves most of autograd's work.

EfficientNet-Lite is a chain of stages of one to three convolutions each, some with a skip over the whole stage; batch
norms have been folded into the convolutions. It is faster than `plain_activations`, its slow reference, because:

* No separate padding: "same" padding of stride 2 adds its odd row and column at the bottom right, which a convolution
  cannot. With kernels and images rotated by 180 degrees they are at the top left, where symmetric padding has them
  too; its row and column at the bottom right are never read. The mean over all positions at the end is not affected.
* The backward pass of a convolution with stride 1 is a convolution with the rotated kernel and swapped channels; that
  kernel is computed once.
* Clipping is done in place, in both passes.

Notation: b images, activations (b, c, h, w); ReLU6(x) = min(max(x, 0), 6).
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

CEILING = 6.0
LEVELS, CENTRE, HALF_RANGE = 255.0, 127.0, 128.0
"""How the networks were trained to see an image in [0, 1]: as levels, centred and divided."""


@final
class Convolution(nn.Module):
    """A frozen convolution with "same" padding for images rotated by 180 degrees, followed by ReLU6 if `clipped`."""

    def __init__(self, upright: nn.Conv2d, clipped: bool) -> None:
        """Copy and rotate the kernel of a convolution for upright images; its own padding is ignored."""
        super().__init__()
        kernel = upright.weight.detach()
        # Rotated twice is not rotated; a depthwise kernel has no channels to swap.
        swapped = kernel.transpose(0, 1) if upright.groups == 1 else kernel
        kernels = (kernel.flip(2, 3), swapped)  # In the layout that convolutions of channels-last activations prefer
        rotated, back = (one.contiguous(memory_format=torch.channels_last).clone() for one in kernels)
        self.weight = nn.Buffer(rotated)
        self.bias = nn.Buffer(torch.zeros(len(kernel)) if upright.bias is None else upright.bias.detach().clone())
        self.groups = upright.groups
        self.stride = int(upright.stride[0])
        self.padding = (kernel.shape[-1] - 1) // 2
        self.clipped = clipped
        self.weight_back = nn.Buffer(back) if self.stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations, of ceil(size / stride) a side."""
        y = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return y.clamp_(0.0, CEILING) if self.clipped else y

    def vjp(self, grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return dL/dx, given dL/dy (`grad`, which may be overwritten), x and y."""
        if self.clipped:
            torch.ops.aten.hardtanh_backward.grad_input(grad, y, 0.0, CEILING, grad_input=grad)
        if self.weight_back is not None:
            return functional.conv2d(grad, self.weight_back, None, 1, self.padding, 1, self.groups)
        stride, padding = [self.stride] * 2, [self.padding] * 2
        gradient: Tensor = torch.ops.aten.convolution_backward(
            grad, x, self.weight, None, stride, padding, [1, 1], False, [0, 0], self.groups, [True, False, False]
        )[0]
        return gradient


@final
class Stage(nn.Module):
    """A chain of convolutions, with or without a skip from its input to its output."""

    convolutions: Sequence[Convolution]

    def __init__(self, convolutions: Sequence[Convolution], skip: bool) -> None:
        """Keep the convolutions in order."""
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)  # type: ignore[assignment]
        self.skip = skip


@final
class LockedNetwork(nn.Module):
    """A chain of stages."""

    stages: Sequence[Stage]

    def __init__(self, stages: Sequence[Stage]) -> None:
        """Keep the stages in order."""
        super().__init__()
        self.stages = nn.ModuleList(stages)  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """Return the last activations (b, c, h, w) of images (b, 3, H, W), rotated by 180 degrees."""
        return self.from_rotated(images.flip(2, 3).contiguous(memory_format=torch.channels_last))

    def from_rotated(self, rotated: Tensor) -> Tensor:
        """Return the last activations, rotated, of an input to the first stage that has been rotated already."""
        activations: Tensor = _Chain.apply(rotated, self)  # type: ignore[no-untyped-call]
        return activations

    def level_means(self, images: Tensor) -> Tensor:
        """Return the mean activations (b, w) of each part, side by side, of images (b, 3, h, w) in [0, 1].

        `guidance/cpu/fused.py: level_means` is the same, faster.
        """
        rotated = scaled(images).flip(2, 3).contiguous(memory_format=torch.channels_last)
        means = []
        for part in self.parts():
            rotated = part.from_rotated(rotated)
            means.append(rotated.float().mean(dim=(2, 3)))
        return torch.cat(means, dim=-1)

    def parts(self) -> list["LockedNetwork"]:
        """Return the chain cut wherever the number of channels changes, as networks that share its stages."""
        widths = [len(stage.convolutions[-1].weight) for stage in self.stages]
        cuts = [i for i in range(1, len(widths)) if widths[i] != widths[i - 1]]
        ends = zip([0, *cuts], [*cuts, len(widths)], strict=True)
        return [LockedNetwork(self.stages[begin:end]) for begin, end in ends]


def scaled(images: Tensor) -> Tensor:
    """Return images in [0, 1] as the networks were trained on them."""
    return (images * LEVELS - CENTRE) / HALF_RANGE


def plain_activations(network: LockedNetwork, images: Tensor) -> Tensor:
    """Return the network's activations, layer by layer, differentiated by autograd: the reference."""
    x = images.flip(2, 3)
    for stage in network.stages:
        y = x
        for layer in stage.convolutions:
            y = functional.conv2d(y, layer.weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)
            y = functional.relu6(y) if layer.clipped else y
        x = x + y if stage.skip else y
    return x


class _Chain(torch.autograd.Function):
    """The whole chain as one node of autograd's graph."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, network: LockedNetwork) -> Tensor:
        ctx.network = network
        tape: list[Tensor] = []
        keep = ctx.needs_input_grad[0]
        for stage in network.stages:
            y = x
            for layer in stage.convolutions:
                before, y = y, layer(y)
                if keep:
                    tape += (before, y)
            # Not in place, because the tape may hold y.
            x = x + y if stage.skip else y
        ctx.save_for_backward(*tape)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad, tape = grad.contiguous(memory_format=torch.channels_last).clone(), reversed(ctx.saved_tensors)
        for stage in reversed(ctx.network.stages):
            skipped = grad.clone() if stage.skip else None
            for layer in reversed(stage.convolutions):
                after, before = next(tape), next(tape)
                grad = layer.vjp(grad, before, after)
            if skipped is not None:
                grad = grad.add_(skipped)
        return grad, None
