"""The optimiser: torch's Adam bit for bit, its equation, and no compiler in memory."""

import subprocess
import sys

import torch
from torch import nn

from dreamfields.optimize.adam import Adam

BETAS, EPSILON = (0.9, 0.99), 1e-5


def parameters() -> list[nn.Parameter]:
    draws = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=draws)) for shape in ((3, 5), (7,), (2, 2, 2))]


def test_it_is_the_fused_adam_of_torch_bit_for_bit() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = Adam(ours, 0.1, BETAS, EPSILON)
    reference = torch.optim.Adam(theirs, lr=0.1, betas=BETAS, eps=EPSILON, fused=True)
    draws = torch.Generator().manual_seed(1)
    for index in range(20):
        optimizer.rate = reference.param_groups[0]["lr"] = 0.1 / (index + 1)
        optimizer.zero_grad()
        reference.zero_grad(set_to_none=True)
        for position, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            if position != 1 or index > 4:  # One has no gradient at first.
                one.grad = torch.randn(one.shape, generator=draws)
                other.grad = one.grad.clone()
        optimizer.step()
        reference.step()
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))
    for one, other in zip(ours, theirs, strict=True):
        assert all(
            torch.equal(optimizer.moments[one][name], reference.state[other][name]) for name in reference.state[other]
        )


def test_its_first_step_is_the_rate_times_the_sign_of_the_gradient() -> None:
    x = nn.Parameter(torch.zeros(3))
    x.grad = torch.tensor([5.0, -0.25, 0.0])
    Adam([x], 0.5, BETAS, 1e-12).step()
    assert torch.allclose(x, torch.tensor([-0.5, 0.5, 0.0]))


def test_a_parameter_without_a_gradient_stays_and_has_no_moments() -> None:
    x, y = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = Adam([x, y], 0.1, BETAS, EPSILON)
    x.grad = torch.ones(2)
    optimizer.step()
    assert list(optimizer.moments) == [x]
    assert torch.equal(y, torch.ones(2))
    optimizer.zero_grad()
    assert x.grad is None


def test_a_run_imports_neither_torch_s_compiler_nor_transformers(tmp_path: object) -> None:
    code = """
import sys
import dreamfields
from tests.support.toys import tiny_config
run = dreamfields.start(tiny_config(), sys.argv[1])
list(run.steps())
run.finish()
print(*({"torch._dynamo", "transformers"} & sys.modules.keys()))
"""
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout.split()) == (0, []), ended.stderr
