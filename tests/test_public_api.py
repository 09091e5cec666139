"""What `import dreamfields` promises: exactly the names in `__all__`, documented, and at once."""

import subprocess
import sys
import types

import dreamfields


def test_the_public_list_is_sorted_and_without_repeats() -> None:
    assert list(dreamfields.__all__) == sorted(set(dreamfields.__all__))


def test_every_public_name_exists_and_is_documented() -> None:
    for name in dreamfields.__all__:
        value = getattr(dreamfields, name)
        if not name.startswith("__"):
            assert (value.__doc__ or "").strip(), f"{name} has no docstring"


def test_nothing_else_is_exported() -> None:
    public = {name for name in vars(dreamfields) if not name.startswith("_")}
    exported = {name for name in public if not isinstance(getattr(dreamfields, name), types.ModuleType)}
    assert exported <= set(dreamfields.__all__)
    assert {name for name in dir(dreamfields) if not name.startswith("_")} >= {
        name for name in dreamfields.__all__ if not name.startswith("_")
    }


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    assert not hasattr(dreamfields, "no_such_name")


def test_the_version_is_that_of_the_package() -> None:
    assert "__version__" in dreamfields.__all__
    assert dreamfields.__version__.count(".") == 2


def test_importing_the_package_does_not_import_torch() -> None:
    code = "import sys, dreamfields; print(*({'torch', 'transformers', 'numpy', 'PIL'} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout.split()) == (0, []), run.stderr
