"""Network fields that begin as a coarse object."""

import pytest
import torch

from dreamfields.scene.coarse import CoarseObject
from dreamfields.scene.fields.base import AbstractField, Evaluator, FieldValues, lattice
from dreamfields.scene.fields.mlp import MlpField
from dreamfields.scene.fitting import EMPTY, SOLID, THICKNESS, fit_to, misfit, samples
from dreamfields.scene.settings import MlpSettings

SMALL = MlpSettings(width=32, hidden=64, frequencies=32, max_octave=5.0, blocks=2)
EXTENT = 0.75


def ball() -> CoarseObject:
    """Return a soft red ball."""
    points = lattice(16, torch.device("cpu")).points
    occupancy = torch.sigmoid(8.0 * (0.8 - points.norm(dim=1))).reshape(17, 17, 17)
    return CoarseObject(occupancy, torch.tensor([0.8, 0.2, 0.2]).expand(17, 17, 17, 3))


def generator() -> torch.Generator:
    """Return a generator of one seed."""
    return torch.Generator().manual_seed(3)


class Exact(AbstractField):
    """A field that is a coarse object without any misfit."""

    def __init__(self, start: CoarseObject) -> None:
        super().__init__()
        self.start = start

    def evaluator(self) -> Evaluator:
        """Return the density whose opacity is the wanted one, and the colours."""

        def evaluate(query: object) -> FieldValues:
            points = query.points  # type: ignore[attr-defined]
            opacity = EMPTY + (SOLID - EMPTY) * self.start.occupancy_at(points, EXTENT)
            return FieldValues(-torch.log(1.0 - opacity) / THICKNESS, self.start.colours_at(points, EXTENT))

        return evaluate

    def density_volume(self, cells: int) -> torch.Tensor:
        """Not asked."""
        raise NotImplementedError


def test_an_object_has_no_misfit_with_itself_and_a_new_network_has() -> None:
    query = samples(EXTENT, generator())
    assert misfit(Exact(ball()), ball(), EXTENT, query) == pytest.approx(0.0, abs=1e-6)
    assert misfit(MlpField(SMALL, generator()), ball(), EXTENT, query) > 0.05


def test_a_fitted_network_is_the_object() -> None:
    field = MlpField(SMALL, generator())
    fit_to(field, ball(), EXTENT, generator())
    values, points = field.evaluator()(lattice(16, torch.device("cpu"))), lattice(16, torch.device("cpu")).points
    solid = 1.0 - torch.exp(-THICKNESS * values.density) > 0.5
    wanted = ball().occupancy_at(points, EXTENT) > 0.5
    assert (solid & wanted).sum() > 0.8 * (solid | wanted).sum()
    assert torch.allclose(values.colour[wanted].mean(dim=0), torch.tensor([0.8, 0.2, 0.2]), atol=0.1)
    assert all(parameter.grad is None for parameter in field.parameters())


def test_it_is_the_same_from_the_same_generator() -> None:
    one, other = MlpField(SMALL, generator()), MlpField(SMALL, generator())
    for field in (one, other):
        fit_to(field, ball(), EXTENT, generator())
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(first, second) for first, second in pairs)


def test_samples_are_in_the_cube_and_half_of_them_in_the_object_s() -> None:
    query = samples(0.5, generator())
    inside = (query.points.abs() <= 0.5).all(dim=1)
    assert query.points.abs().max() <= 1.0
    assert 0.5 < inside.float().mean() < 0.7
    assert query.lengths.min() > 0.0
