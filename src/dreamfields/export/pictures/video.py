"""Videos: MP4 or WebM where ffmpeg can encode them, else an animated GIF or WebP; the same frames give the same bytes.

ffmpeg is not run by `imageio_ffmpeg.write_frames`, which has no time limit and does not check the exit code.
"""

import contextlib
import io
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import imageio_ffmpeg
import numpy as np
from PIL import Image

from dreamfields.errors import UsageError
from dreamfields.export.pictures.table import VideoSuffix, video_suffix
from dreamfields.storage import atomic_write

CODECS: Final[Mapping[str, str]] = {
    ".mp4": "-c:v libx264 -preset medium -crf 18 -movflags +faststart",
    ".webm": "-c:v libvpx-vp9 -crf 28 -b:v 0 -deadline good -cpu-used 4 -row-mt 0",
}
"""Arguments of ffmpeg."""

TIMEOUT_S: Final = 60.0  # Seconds an encoder may take, plus one for each million pixels; it needs a tenth of that


@dataclass(frozen=True)
class Video:
    """An encoded video."""

    suffix: VideoSuffix  # Its format: not always the requested one
    content: bytes  # The file; never empty
    note: str = ""  # Why it is not in the requested format, as a sentence; empty if it is


def encode_video(frames: Sequence[Image.Image], fps: int, suffix: VideoSuffix = ".mp4") -> Video:
    """Encode frames of equal size; where ffmpeg fails, an MP4 becomes a GIF and a WebM a WebP, with a note.

    MP4 is H.264 and WebM is VP9, both in yuv420p, which every player supports; odd sizes gain a row or column for it.
    Animated images merge equal neighbours into one longer frame. Raises UsageError: no frames, or of several sizes.
    """
    sizes = {frame.size for frame in frames}
    if len(sizes) != 1:
        raise UsageError(f"a video needs frames of one size; got {len(frames)} frames of {len(sizes)} sizes")
    match suffix:
        case ".gif" | ".webp":
            return Video(suffix, animated_bytes(frames, fps, suffix))
    faults = []
    for program in encoders():
        try:
            return Video(suffix, encoded_bytes(program, frames, fps, suffix))
        except RuntimeError as error:
            faults.append(str(error))
    reason = "; ".join(faults) or "no ffmpeg was found; install it and export again"
    if suffix == ".mp4":
        return Video(".gif", animated_bytes(frames, fps, ".gif"), f"the video is a GIF, not an MP4: {reason}")
    return Video(".webp", animated_bytes(frames, fps, ".webp"), f"the video is a WebP, not a WebM: {reason}")


def write_video(
    frames: Sequence[Image.Image], fps: int, path: Path, own_folder: Path | None = None
) -> tuple[Path, str]:
    """Write a video; return its path, whose suffix is its actual format, and why that is not the requested one or "".

    A file of another name than the requested one replaces nothing, unless it is in `own_folder`.
    Raises UsageError: the suffix names no known format, or the frames make no video.
    """
    requested = video_suffix(path)
    video = encode_video(frames, fps, requested)
    target, note = path, video.note
    if video.suffix != requested:
        target = path.with_suffix(video.suffix)
        if own_folder is None or path.parent.resolve() != own_folder.resolve():
            target = free_name(target)
        note = f"{note} (written as {target.name})"
    atomic_write(target, video.content)
    return target, note


def free_name(path: Path) -> Path:
    """Return a path or, where something is there, the first that is free of `spin-2.gif`, `spin-3.gif` and so on."""
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2)))
    return next(name for name in names if not os.path.lexists(name))


def encoders() -> list[str]:
    """Return the ffmpeg programs to try in turn: the one on the PATH, then the one of the `imageio-ffmpeg` package."""
    found = [shutil.which("ffmpeg")]
    # It raises where its wheel brings no program for this machine.
    with contextlib.suppress(RuntimeError):
        found.append(imageio_ffmpeg.get_ffmpeg_exe())
    return [program for program in dict.fromkeys(found) if program]


def encoded_bytes(program: str, frames: Sequence[Image.Image], fps: int, suffix: Literal[".mp4", ".webm"]) -> bytes:
    """Encode frames with one ffmpeg program. Raises RuntimeError: it does not start, fails, hangs or writes nothing."""
    odd = [(0, frames[0].height % 2), (0, frames[0].width % 2), (0, 0)]
    pixels = [np.pad(np.asarray(frame.convert("RGB")), odd, mode="edge") for frame in frames]
    height, width, _ = pixels[0].shape
    seconds = TIMEOUT_S + len(pixels) * height * width / 1e6
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / f"video{suffix}"
        command = ffmpeg_command(program, (width, height), fps, file)
        raw = b"".join(frame.tobytes() for frame in pixels)
        try:
            ended = subprocess.run(command, input=raw, capture_output=True, timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{program} did not end within {seconds:.0f} s") from None
        except OSError as error:
            raise RuntimeError(f"{program} cannot be run ({error.strerror or error})") from error
        if ended.returncode != 0:
            lines = ended.stderr.decode("utf-8", "replace").strip().splitlines()
            raise RuntimeError(f"{program} failed with code {ended.returncode} ({lines[-1] if lines else 'silently'})")
        # Some builds succeed without writing anything.
        if not file.is_file() or file.stat().st_size == 0:
            raise RuntimeError(f"{program} wrote nothing")
        return file.read_bytes()


def ffmpeg_command(program: str, size: tuple[int, int], fps: int, file: Path) -> list[str]:
    """Return the command that reads raw RGB frames of an even size (width, height) and writes a video file."""
    source = f"-f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r {fps} -i pipe:0"
    # Without tags players guess the conversion to RGB from the size of the image, and colours shift. Encoders take them
    # from the frames in some versions of ffmpeg and from the options in others, so both have them.
    marked = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
    convert = f"-vf scale=out_color_matrix=bt709,format=yuv420p,{marked}"
    tags = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
    # One thread and no version stamps: the same frames are the same bytes.
    exact = "-threads 1 -fflags +bitexact -flags:v +bitexact -map_metadata -1"
    options = f"-nostdin -v error {source} {convert} {tags} {CODECS[file.suffix]} {exact}"
    return [program, *options.split(), str(file)]


def animated_bytes(frames: Sequence[Image.Image], fps: int, suffix: Literal[".gif", ".webp"]) -> bytes:
    """Encode frames as an endless animated GIF or WebP that plays at `fps`, as nearly as the format can."""
    file = io.BytesIO()
    if suffix == ".gif":
        first, *rest = _one_palette(frames)
        durations = gif_durations(len(frames), fps)
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    else:
        first, *rest = (frame.convert("RGB") for frame in frames)
        first.save(file, "WEBP", save_all=True, append_images=rest, duration=round(1000.0 / fps), loop=0, quality=90)
    return file.getvalue()


def gif_durations(count: int, fps: int) -> list[int]:
    """Return frames' milliseconds, hundredths of a second with the right sum; browsers show less than 20 for 100."""
    ends = [10 * round(100.0 * (index + 1) / fps) for index in range(count)]
    return [max(20, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def _one_palette(frames: Sequence[Image.Image]) -> list[Image.Image]:
    """Return the frames in one palette of 256 colours, so that nothing flickers."""
    width, height = frames[0].size
    chosen = frames[:: max(1, len(frames) // 12)]  # a dozen show the colours of a whole turn
    strip = Image.new("RGB", (width, height * len(chosen)))
    for index, frame in enumerate(chosen):
        strip.paste(frame.convert("RGB"), (0, index * height))
    palette = strip.quantize(256)
    return [frame.convert("RGB").quantize(palette=palette) for frame in frames]
