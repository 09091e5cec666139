"""`dreamfields sketch` and `dreamfields prior`: what they write, print and refuse."""

from pathlib import Path

import pytest
import trimesh
from PIL import Image

from dreamfields.cli.main import main
from dreamfields.prior import load as prior_file
from dreamfields.prior.credits import credits_document
from dreamfields.prior.library import read_library
from dreamfields.prior.load import packaged_prior
from tests.support.models import write_models


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed, on one line."""
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


def test_a_sketch_is_the_prior_alone_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sketch", "a school bus", "--out", str(tmp_path)]) == 0
    text, folder = said(capsys), tmp_path / "a-school-bus-0"
    assert "this is the prior alone" in text
    assert "of 'a school bus' it has the shape of 'school bus' (cosine 1.00)" in text
    assert "would not start from it" not in text
    mesh = trimesh.load_mesh(folder / "object.glb")
    assert mesh.is_watertight
    length, height, width = mesh.extents[2], mesh.extents[1], mesh.extents[0]
    assert length > 1.3 * height > 1.3 * 0.8 * width  # It faces the camera at azimuth 0.
    with Image.open(folder / "contact_sheet.png") as sheet:
        assert sheet.info["prompt"] == "a school bus"
    assert main(["sketch", "a school bus", "--out", str(tmp_path)]) == 0  # It may be made again.


def test_a_sketch_of_what_is_not_known_says_that_no_run_would_start_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sketch", "the smell of rain", "--out", str(tmp_path)]) == 0
    assert "a run would not start from it" in said(capsys)


@pytest.mark.parametrize(("prompt", "words"), [("", "the prompt is empty"), ("茶壶", "translate it")])
def test_a_prompt_that_cannot_be_read_is_refused(
    prompt: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sketch", prompt, "--out", str(tmp_path / "sketches")]) == 2
    assert words in said(capsys)
    assert not (tmp_path / "sketches").exists()


def test_a_library_is_built_of_a_set_and_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_models(tmp_path / "shapes", licence="CC0-1.0"), tmp_path / "shapes.safetensors"
    assert main(["prior", "build", str(folder), "--out", str(out)]) == 0
    text = said(capsys)
    library = read_library(out)
    assert f"{len(library.names)} shapes" in text
    assert library.identity in text
    assert set(library.names) == {"ball", "box", "cone", "ring"}
    assert main(["prior", "build", str(folder), "--out", str(out)]) == 2
    assert "is there already" in said(capsys)
    assert main(["prior", "build", str(folder)]) == 2
    assert "say where to write the shapes" in said(capsys)


def test_a_set_without_models_that_are_allowed_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_models(tmp_path / "shapes")
    assert main(["prior", "build", str(folder), "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "no model of the set can be started from" in said(capsys)
    assert not (tmp_path / "x.safetensors").exists()


def test_the_shipped_library_is_whole() -> None:
    library = packaged_prior()
    assert len(library.names) > 2700
    assert len(set(library.names)) > 1300
    assert library.solids.flatten(1).any(dim=1).all()
    credited = {name: credit for name, credit in zip(library.names, library.credits, strict=True) if credit}
    assert "CC BY" in credited["giraffe"]
    assert len(credited) > 300
    document = prior_file.FILE.with_suffix(".credits.md").read_text(encoding="utf-8")
    assert document == credits_document(library)
    assert f"\n* {credited['giraffe']}\n" in document
    free = library.without_credits()
    assert credits_document(free) == ""
    assert "giraffe" not in free.names
    assert len(set(free.names)) > 1300
