"""Turntable videos: one turn around the object, as MP4 where that can be encoded and as an animated picture elsewhere.

A program is only ever started with a list of arguments and a time limit. It gets raw frames through its standard input
and writes into a directory of its own, so a video is whole or not there. The same frames give the same bytes.
"""

import contextlib
import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dreamfields.errors import UsageError
from dreamfields.export.pictures import view
from dreamfields.export.settings import ExportSettings
from dreamfields.render import framing
from dreamfields.scene import cameras
from dreamfields.scene.fields.base import AbstractField

VideoSuffix = Literal[".mp4", ".gif", ".webp"]

PATIENCE: Final = 60.0
"""Seconds, and one more for each million pixels, after which an encoder is taken to hang; it needs a tenth of that."""


@dataclass(frozen=True)
class Video:
    """An encoded video."""

    suffix: VideoSuffix
    """What the file's name ends in: not always what was asked for."""
    content: bytes
    """The file; never empty."""
    note: str = ""
    """Why it is not in the format asked for, as a sentence; empty if it is."""


def turntable(field: AbstractField, settings: ExportSettings, occupancy: Tensor | None = None) -> list[Image.Image]:
    """Render the frames of one turn around a field, over white, `video_size` pixels a side, the front first.

    Args:
        field: what is there.
        settings: size and number of frames, and the samples of a ray.
        occupancy: cells that may hold density, bool (k, k, k); None samples everywhere.

    Raises:
        DegenerateError: the field holds values that are not finite.
    """
    size, samples = settings.video_size, settings.still_samples
    seen = framing.frame(field)
    views = cameras.turntable(settings.video_frames, fov_deg=seen.fov_deg, target=seen.target)
    return [view(field, camera, size, samples, occupancy) for camera in views]


def encode_video(frames: Sequence[Image.Image], fps: int, suffix: VideoSuffix = ".mp4") -> Video:
    """Encode frames of equal size; an MP4 that cannot be made becomes a GIF that says why.

    MP4 is H.264 in yuv420p, which everything plays; odd sizes gain a row or column, as that format must have even ones.
    Animated pictures show equal neighbours as one longer frame, so they can have fewer frames but play as long.

    Raises:
        UsageError: there is no frame, or the frames differ in size.
    """
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise UsageError(f"a video needs frames of one size; got {len(frames)} frames of {len(sizes)} sizes")
    if suffix == ".mp4":
        return _mp4_or_gif(frames, fps)
    return Video(suffix, animated_bytes(frames, fps, suffix))


def encoders() -> list[str]:
    """Return the ffmpeg programs to try in turn: the one on the PATH, then the one of the `imageio-ffmpeg` package."""
    found = [shutil.which("ffmpeg")]
    # It raises where its wheel brings no program for this machine.
    with contextlib.suppress(RuntimeError):
        found.append(imageio_ffmpeg.get_ffmpeg_exe())
    return [program for program in dict.fromkeys(found) if program]


def mp4_bytes(program: str, frames: Sequence[Image.Image], fps: int) -> bytes:
    """Encode frames with one ffmpeg program.

    Raises:
        RuntimeError: the program cannot be started, fails, hangs or writes nothing; the message says which.
    """
    pixels = [_even(np.asarray(frame.convert("RGB"))) for frame in frames]
    height, width, _ = pixels[0].shape
    seconds = PATIENCE + len(pixels) * height * width / 1e6
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "video.mp4"
        command = ffmpeg_command(program, (width, height), fps, file)
        raw = b"".join(frame.tobytes() for frame in pixels)
        try:
            ended = subprocess.run(command, input=raw, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{program} did not end within {seconds:.0f} s") from None
        except OSError as error:
            raise RuntimeError(f"{program} cannot be run ({error.strerror or error})") from error
        if ended.returncode != 0:
            said = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            raise RuntimeError(f"{program} failed with code {ended.returncode} ({said[-1] if said else 'silently'})")
        # Some builds end well without writing anything.
        if not file.is_file() or file.stat().st_size == 0:
            raise RuntimeError(f"{program} wrote nothing")
        return file.read_bytes()


def ffmpeg_command(program: str, size: tuple[int, int], fps: int, file: Path) -> list[str]:
    """Return the command that reads raw RGB frames of an even size (width, height) and writes an MP4 file."""
    width, height = size
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps} -i pipe:0"
    picture = "-vf scale=out_color_matrix=bt709,format=yuv420p"
    # Without tags for the conversion players guess it from the size of the picture, and colours shift.
    tags = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
    codec = "-c:v libx264 -preset medium -crf 18 -movflags +faststart"
    # One thread and no version stamps: the same frames are the same bytes.
    exact = "-threads 1 -fflags +bitexact -flags:v +bitexact -map_metadata -1"
    return [program, *f"-nostdin -v error {source} {picture} {tags} {codec} {exact}".split(), str(file)]


def animated_bytes(frames: Sequence[Image.Image], fps: int, suffix: Literal[".gif", ".webp"]) -> bytes:
    """Encode frames as an endless animated GIF or WebP that plays at `fps`, as nearly as the format can."""
    file = io.BytesIO()
    if suffix == ".gif":
        first, *rest = _one_palette(frames)
        durations = gif_durations(len(frames), fps)
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    else:
        first, *rest = (frame.convert("RGB") for frame in frames)
        duration = round(1000.0 / fps)
        first.save(file, "WEBP", save_all=True, append_images=rest, duration=duration, loop=0, quality=90)
    return file.getvalue()


def gif_durations(count: int, fps: int) -> list[int]:
    """Return milliseconds (count,) for each frame, in the whole hundredths GIF knows, that add up to the right length.

    Never below 20 ms, which browsers take for a mistake and play at 100 ms.
    """
    ends = [10 * round(100.0 * (index + 1) / fps) for index in range(count)]
    return [max(20, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def _mp4_or_gif(frames: Sequence[Image.Image], fps: int) -> Video:
    faults = []
    for program in encoders():
        try:
            return Video(".mp4", mp4_bytes(program, frames, fps))
        except RuntimeError as error:
            faults.append(str(error))
    reason = "; ".join(faults) or "no ffmpeg was found; install it and export again"
    return Video(".gif", animated_bytes(frames, fps, ".gif"), f"the video is a GIF, not an MP4: {reason}")


def _even(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row and column of pixels (h, w, 3) where their number is odd."""
    height, width, _ = pixels.shape
    return np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the frames in the 256 colours that suit all of them, so that nothing flickers from frame to frame."""
    width, height = frames[0].size
    # A dozen frames are enough to know the colours of a turn.
    chosen = frames[:: max(1, len(frames) // 12)]
    strip = Image.new("RGB", (width, height * len(chosen)))
    for index, frame in enumerate(chosen):
        strip.paste(frame.convert("RGB"), (0, index * height))
    palette = strip.quantize(256)
    return [frame.convert("RGB").quantize(palette=palette) for frame in frames]
