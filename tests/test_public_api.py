"""What `import dreamfields` promises: exactly the names in `__all__`, documented, and at once."""

import importlib
import subprocess
import sys
import tomllib
import types

import pytest

import dreamfields
from tests.support.architecture import ROOT, modules


def test_the_public_list_is_sorted_and_without_repeats() -> None:
    constants_classes_functions = sorted(
        set(dreamfields.__all__), key=lambda name: (not name.isupper(), name[0].islower(), name)
    )
    assert list(dreamfields.__all__) == constants_classes_functions


@pytest.mark.parametrize("name", dreamfields.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(dreamfields, name)
    assert not callable(value) or (value.__doc__ or "").strip(), f"{name} has no docstring"


@pytest.mark.parametrize("name", dreamfields.__all__)
def test_a_public_name_is_no_module_even_after_all_modules_are_loaded(name: str) -> None:
    # A folder of the same name takes the place of a name that is loaded when first used.
    for module, _ in modules():
        if module and module != "__main__":
            importlib.import_module(f"dreamfields.{module}")
    assert not isinstance(getattr(dreamfields, name), types.ModuleType)


def test_nothing_else_is_offered() -> None:
    public = {name for name in dir(dreamfields) if not name.startswith("_")}
    assert public == {name for name in dreamfields.__all__ if not name.startswith("_")}


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = dreamfields.no_such_name


def test_package_metadata_and_changelog_tell_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert dreamfields.__version__ == project["version"]
    assert f"## [{dreamfields.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, dreamfields; print(*({'torch', 'transformers', 'numpy', 'PIL'} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr
