"""Adam (Kingma and Ba, 2015): torch's fused function, with the moments kept here.

`torch.optim.Adam` is the reference in the tests, equal bit for bit. To make or step one imports torch's compiler, 800
modules in two seconds, only to tell it to leave the optimiser alone; every command on a run would wait for that.

    m = b1 m + (1 - b1) g
    v = b2 v + (1 - b2) g^2
    x = x - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)
"""

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

MOMENTS = ("exp_avg", "exp_avg_sq", "step")
"""m, v and t of a parameter: the first two of its shape, the last () float32."""


@final
class Adam:
    """The optimiser of some parameters, at a learning rate that may change between steps."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float], epsilon: float
    ) -> None:
        """Start without moments; a parameter gets its own in its first step, where they are zeros."""
        self.parameters = list(parameters)
        self.rate, self.betas, self.epsilon = rate, betas, epsilon
        self.moments: dict[nn.Parameter, dict[str, Tensor]] = {}

    def begin(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """Give a parameter its moments before the first step, and return them."""
        zeros = {name: torch.zeros_like(parameter) for name in MOMENTS[:2]}
        self.moments[parameter] = zeros | {"step": torch.zeros((), device=parameter.device)}
        return self.moments[parameter]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient, and update their moments."""
        moved, gradients, moments = list[Tensor](), list[Tensor](), list[dict[str, Tensor]]()
        for parameter in self.parameters:
            if parameter.grad is not None:
                moved.append(parameter)
                gradients.append(parameter.grad)
                moments.append(self.moments.get(parameter) or self.begin(parameter))
        first, second, steps = ([one[name] for one in moments] for name in MOMENTS)
        adam(
            moved,
            gradients,
            first,
            second,
            [],
            steps,
            fused=True,  # One pass over memory
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.rate,
            weight_decay=0.0,
            eps=self.epsilon,
            maximize=False,
        )
