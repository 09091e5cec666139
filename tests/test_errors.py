"""Errors: the tree drawn in the module is the tree that exists."""

import re

from dreamfields import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DreamfieldsError)]


def test_the_drawing_names_every_class_with_its_exit_code() -> None:
    drawn = dict(re.findall(r"(\w+Error)\s+exit (\d)", errors.__doc__ or ""))
    assert drawn == {kind.__name__: str(kind.exit_code) for kind in KINDS}


def test_every_error_can_be_caught_as_one_of_the_package() -> None:
    assert {kind.__name__ for kind in KINDS} == {name for name in vars(errors) if name.endswith("Error")}
    assert all(kind.__doc__ for kind in KINDS)
    assert issubclass(errors.CheckpointError, errors.StorageError)
