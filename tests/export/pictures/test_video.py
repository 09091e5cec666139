"""Videos: as many frames as were given, in their colours and at their speed, and a file whatever the encoder does."""

import io
import re
import stat
import subprocess
from pathlib import Path
from typing import Literal, get_args

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dreamfields.errors import UsageError
from dreamfields.export.pictures import video
from dreamfields.export.pictures.table import VIDEOS, VideoSuffix, video_suffix
from dreamfields.export.pictures.video import encode_video, encoded_bytes, gif_durations, write_video

COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (220, 220, 220), (10, 10, 10)]


def plain_frames(width: int, height: int, count: int = 5) -> list[Image.Image]:
    return [Image.new("RGB", (width, height), COLOURS[index % 5]) for index in range(count)]


def decode(content: bytes, directory: Path, suffix: str = ".mp4") -> NDArray[np.uint8]:
    """Return the frames (n, h, w, 3) of a video."""
    file = directory / f"again{suffix}"
    file.write_bytes(content)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(file), str(directory / "%03d.png")]
    subprocess.run(command, check=True)
    frames = []
    for picture in sorted(directory.glob("*.png")):
        with Image.open(picture) as image:
            frames.append(np.asarray(image.convert("RGB")))
    return np.stack(frames)


def fake_ffmpeg(monkeypatch: pytest.MonkeyPatch, directory: Path, script: str) -> None:
    """Put a program called ffmpeg, and nothing else, on the PATH."""
    program = directory / "ffmpeg"
    program.write_text(script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(directory))


def without_bundled_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize(("width", "height"), [(32, 32), (33, 32), (32, 31), (17, 9), (1, 1)])
def test_a_video_has_every_frame_in_its_colour_at_an_even_size(
    width: int, height: int, suffix: VideoSuffix, tmp_path: Path
) -> None:
    made = encode_video(plain_frames(width, height), 24, suffix)
    assert (made.suffix, made.note) == (suffix, "")
    frames = decode(made.content, tmp_path, suffix)
    assert frames.shape == (5, height + height % 2, width + width % 2, 3)
    assert np.abs(frames.astype(int) - np.array(COLOURS)[:, None, None]).max() <= 6


def tags_of(content: bytes, directory: Path, suffix: str) -> str:
    """Return what ffmpeg says of the pixels of a video: `yuv420p(range, matrix/primaries/transfer, ...)`."""
    file = directory / f"tagged{suffix}"
    file.write_bytes(content)
    said = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(file)], capture_output=True, check=False).stderr
    (pixels,) = re.findall(r"Video: .*?(yuv420p\(.*?\))", said.decode())
    return str(pixels)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("source", ["options and frames", "frames"])
def test_a_video_says_how_its_colours_are_to_be_read(
    source: str, suffix: Literal[".mp4", ".webm"], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = video.ffmpeg_command

    def without_options(program: str, size: tuple[int, int], fps: int, file: Path) -> list[str]:
        words = whole(program, size, fps, file)
        places = [index for index, word in enumerate(words) if word.startswith("-color")]
        assert len(places) == 4
        return [word for index, word in enumerate(words) if not {index, index - 1} & set(places)]

    # Newer versions of ffmpeg take the tags from the frames of the filters alone.
    if source == "frames":
        monkeypatch.setattr(video, "ffmpeg_command", without_options)
    made = encoded_bytes(imageio_ffmpeg.get_ffmpeg_exe(), plain_frames(16, 16), 24, suffix)
    # One word where matrix, primaries and transfer are the same.
    assert tags_of(made, tmp_path, suffix).startswith("yuv420p(tv, bt709, ")
    if suffix == ".mp4":  # Primaries, transfer and matrix 1 are BT.709; the last byte is 0 for limited range.
        assert b"colrnclx\0\1\0\1\0\1\0" in made
    else:  # MatrixCoefficients, Range, TransferCharacteristics, Primaries, each of one byte, in Matroska's Colour.
        for element in (b"\x55\xb1\x81\1", b"\x55\xb9\x81\1", b"\x55\xba\x81\1", b"\x55\xbb\x81\1"):
            assert element in made


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert len(decode(encode_video(plain_frames(16, 16, 1), 24).content, tmp_path)) == 1


def test_the_same_frames_are_the_same_bytes() -> None:
    frames = plain_frames(32, 32)
    for suffix in (".mp4", ".webm", ".gif", ".webp"):
        assert encode_video(frames, 24, suffix).content == encode_video(frames, 24, suffix).content


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize(("width", "height"), [(33, 20), (1, 1)])
def test_an_animated_picture_has_every_frame_and_the_right_length(suffix: VideoSuffix, width: int, height: int) -> None:
    made = encode_video(plain_frames(width, height, 12), 24, suffix)
    assert (made.suffix, made.note) == (suffix, "")
    milliseconds = 0
    with Image.open(io.BytesIO(made.content)) as again:
        assert again.n_frames == 12  # type: ignore[attr-defined]
        assert again.info["loop"] == 0
        for index in range(12):
            again.seek(index)
            pixels = np.asarray(again.convert("RGB")).astype(int)
            assert pixels.shape == (height, width, 3)
            assert np.abs(pixels - COLOURS[index % 5]).max() <= 6
            milliseconds += again.info["duration"]
    assert milliseconds == pytest.approx(500, abs=5)


def test_equal_frames_may_merge_but_play_as_long() -> None:
    frames = [Image.new("RGB", (8, 8), "red")] * 10 + [Image.new("RGB", (8, 8), "blue")] * 2
    with Image.open(io.BytesIO(encode_video(frames, 10, ".gif").content)) as again:
        milliseconds = 0
        for index in range(again.n_frames):  # type: ignore[attr-defined]
            again.seek(index)
            milliseconds += again.info["duration"]
    assert milliseconds == 1200


@pytest.mark.parametrize("fps", [1, 7, 24, 30, 50])
def test_the_frames_of_a_gif_last_as_long_as_asked_together(fps: int) -> None:
    assert sum(gif_durations(100, fps)) == pytest.approx(100_000 / fps, abs=5)


def test_no_frame_of_a_gif_is_too_short_for_browsers() -> None:
    assert min(gif_durations(100, 60)) == 20


HANGS = "#!/bin/sh\nexec /bin/sleep 30\n"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("#!/bin/sh\necho 'Unknown encoder libx264' >&2\nexit 3\n", r"failed with code 3 \(Unknown encoder libx264\)"),
        ("#!/bin/sh\nkill -9 $$\n", r"failed with code -9 \(silently\)"),
        ("#!/bin/sh\nexit 0\n", "wrote nothing"),
        ('#!/bin/sh\nfor last; do :; done\n: > "$last"\n', "wrote nothing"),
        (HANGS, "did not end within"),
        ("#!/no/such/interpreter\n", "cannot be run"),
    ],
)
def test_a_failing_encoder_gives_a_gif_that_says_why(
    script: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_ffmpeg(monkeypatch, tmp_path, script)
    without_bundled_ffmpeg(monkeypatch)
    if script == HANGS:
        monkeypatch.setattr(video, "TIMEOUT_S", 0.1)
    made = encode_video(plain_frames(16, 16), 24)
    assert made.suffix == ".gif"
    with Image.open(io.BytesIO(made.content)) as again:
        assert again.n_frames == 5  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(made.note)


def test_without_any_encoder_there_is_still_a_video(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    without_bundled_ffmpeg(monkeypatch)
    made = encode_video(plain_frames(16, 16), 24)
    assert made.suffix == ".gif"
    assert "no ffmpeg was found" in made.note


def test_the_bundled_encoder_steps_in_for_a_broken_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bundled = imageio_ffmpeg.get_ffmpeg_exe()
    fake_ffmpeg(monkeypatch, tmp_path, "#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: bundled)
    assert encode_video(plain_frames(16, 16), 24).suffix == ".mp4"


def test_frames_that_make_no_video_are_refused() -> None:
    with pytest.raises(UsageError, match="got 0 frames"):
        encode_video([], 24)
    with pytest.raises(UsageError, match="2 frames of 2 sizes"):
        encode_video([*plain_frames(8, 8, 1), *plain_frames(9, 8, 1)], 24)


def test_a_webm_that_cannot_be_made_is_a_webp_that_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    without_bundled_ffmpeg(monkeypatch)
    path, note = write_video(plain_frames(16, 16), 24, tmp_path / "video.webm")
    assert path == tmp_path / "video.webp"
    assert note.startswith("the video is a WebP, not a WebM: no ffmpeg was found")
    with Image.open(path) as again:
        assert again.n_frames == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(("suffix", "other"), [(".mp4", ".gif"), (".webm", ".webp")])
def test_a_video_of_another_name_than_the_given_one_replaces_nothing_outside_the_run(
    suffix: str, other: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(video, "encoders", list)
    run, path = tmp_path / "run", tmp_path / f"spin{suffix}"
    (tmp_path / f"spin{other}").write_bytes(b"mine")
    (tmp_path / f"spin-2{other}").symlink_to(tmp_path / "nowhere")
    made, note = write_video(plain_frames(8, 8), 24, path, run)
    assert made == tmp_path / f"spin-3{other}"
    assert note.endswith(f"(written as spin-3{other})")
    assert (tmp_path / f"spin{other}").read_bytes() == b"mine"
    # In the run's own folder it is the run's own.
    assert write_video(plain_frames(8, 8), 24, path, tmp_path)[0] == tmp_path / f"spin{other}"
    assert (tmp_path / f"spin{other}").read_bytes() != b"mine"


def test_a_video_that_was_asked_for_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "Spin.GIF"
    path.write_bytes(b"earlier")
    assert write_video(plain_frames(8, 8), 24, path) == (path, "")
    assert path.read_bytes()[:4] == b"GIF8"
    assert list(tmp_path.iterdir()) == [path]


def test_a_video_s_ending_is_its_format_in_small_letters_or_capitals() -> None:
    assert get_args(VideoSuffix) == tuple(VIDEOS)
    for ending in VIDEOS:
        assert video_suffix(Path(f"a{ending}")) == video_suffix(Path(f"a{ending.upper()}")) == ending


def test_a_video_of_no_known_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"video format called '\.mpv'"):
        write_video(plain_frames(8, 8), 24, tmp_path / "video.mpv")
    assert not list(tmp_path.iterdir())
