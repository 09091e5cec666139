"""A locked network as one differentiable function: only pictures get gradients, so most of autograd's work falls away.

EfficientNet-Lite is a chain of stages, each one to three convolutions, some with a skip over the whole stage. Batch
norms are folded into the convolutions before they get here. What makes this faster than the same layers one by one:

* Nothing is padded by hand. "Same" padding of a stride of 2 puts its odd row and column behind the picture, which a
  convolution cannot do by itself. In a picture turned by 180 degrees, with kernels turned as well, they come first,
  and symmetric padding does the same: the row it adds behind is never reached. So kernels are turned when the network
  is made, pictures when they enter, and the way out, a mean over all places, does not mind.
* The way back of a convolution with stride 1 is a convolution with its kernel turned and its channels swapped; that
  kernel is made once.
* Clipping is done in place, forward and back.

`plain_activations` is the same function, layer by layer as autograd sees it: the readable reference.

Notation: b pictures, activations (b, c, h, w); ReLU6(x) = min(max(x, 0), 6).
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

CEILING = 6.0


@final
class Convolution(nn.Module):
    """A frozen convolution with "same" padding, for pictures turned by 180 degrees; may clip what it returns."""

    def __init__(self, upright: nn.Conv2d, clipped: bool) -> None:
        """Take over the kernel of a convolution whose pictures stand upright; its own padding does not count."""
        super().__init__()
        kernel = upright.weight.detach()
        self.weight = nn.Buffer(_packed(kernel.flip(2, 3)))
        self.bias = nn.Buffer(torch.zeros(len(kernel)) if upright.bias is None else upright.bias.detach().clone())
        self.groups = upright.groups
        self.stride = int(upright.stride[0])
        self.padding = (kernel.shape[-1] - 1) // 2
        self.clipped = clipped
        # Turned twice is not turned; each channel of a depthwise kernel has only itself to swap with.
        swapped = kernel.transpose(0, 1) if self.groups == 1 else kernel
        self.weight_back = nn.Buffer(_packed(swapped)) if self.stride == 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations, of ceil(size / stride) a side."""
        y = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return y.clamp_(0.0, CEILING) if self.clipped else y

    def pull_back(self, grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Return dL/dx, given dL/dy (which may be overwritten), x and y."""
        if self.clipped:
            torch.ops.aten.hardtanh_backward.grad_input(grad, y, 0.0, CEILING, grad_input=grad)
        if self.weight_back is not None:
            return functional.conv2d(grad, self.weight_back, None, 1, self.padding, 1, self.groups)
        gradient: Tensor = torch.ops.aten.convolution_backward(
            grad,
            x,
            self.weight,
            None,
            [self.stride, self.stride],
            [self.padding, self.padding],
            [1, 1],
            False,
            [0, 0],
            self.groups,
            [True, False, False],
        )[0]
        return gradient


@final
class Stage(nn.Module):
    """Convolutions one after another, with or without a skip from their input to their output."""

    convolutions: Sequence[Convolution]

    def __init__(self, convolutions: Sequence[Convolution], skip: bool) -> None:
        """Chain convolutions."""
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)  # type: ignore[assignment]
        self.skip = skip


@final
class LockedNetwork(nn.Module):
    """A chain of stages: pictures in, the last activations out, turned by 180 degrees."""

    stages: Sequence[Stage]

    def __init__(self, stages: Sequence[Stage]) -> None:
        """Chain stages."""
        super().__init__()
        self.stages = nn.ModuleList(stages)  # type: ignore[assignment]

    def forward(self, images: Tensor) -> Tensor:
        """Return the last activations (b, c, h, w) of upright pictures (b, 3, H, W), turned by 180 degrees."""
        return self.go_on(images.flip(2, 3).contiguous(memory_format=torch.channels_last))

    def go_on(self, turned: Tensor) -> Tensor:
        """Return the last activations of pictures, or of activations before the first stage, turned already."""
        activations: Tensor = _Chain.apply(turned, self)  # type: ignore[no-untyped-call]
        return activations

    def parts(self) -> list["LockedNetwork"]:
        """Return the chain cut wherever the number of channels changes: chains over the same stages."""
        widths = [len(stage.convolutions[-1].weight) for stage in self.stages]
        cuts = [i for i in range(1, len(widths)) if widths[i] != widths[i - 1]]
        ends = zip([0, *cuts], [*cuts, len(widths)], strict=True)
        return [LockedNetwork(self.stages[begin:end]) for begin, end in ends]


def plain_activations(network: LockedNetwork, images: Tensor) -> Tensor:
    """Return what the network returns, with autograd's own way back: the reference."""
    x = images.flip(2, 3)
    for stage in network.stages:
        y = x
        for layer in stage.convolutions:
            y = functional.conv2d(y, layer.weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)
            y = functional.relu6(y) if layer.clipped else y
        x = x + y if stage.skip else y
    return x


class _Chain(torch.autograd.Function):
    """All stages at once, and back."""

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
            # Never in place: the tape may hold y.
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
                grad = layer.pull_back(grad, before, after)
            if skipped is not None:
                grad = grad.add_(skipped)
        return grad, None


def _packed(kernel: Tensor) -> Tensor:
    """Lay a kernel out as the convolutions of channels-last activations like it."""
    return kernel.contiguous(memory_format=torch.channels_last).clone()
