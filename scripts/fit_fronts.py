"""Fit which things have a front, and write the probe into the package: python scripts/fit_fronts.py FOLDER.

FOLDER is a set of 3D models, as `dreamfields lit train` reads one. Prints how many held-out names the probe gets right,
and the digest that `dreamfields.guidance.lit.weights` must hold.
"""

import sys
from pathlib import Path

import torch

from dreamfields.errors import DreamfieldsError
from dreamfields.guidance.clip.hub import file_sha256
from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.guidance.lit.weights import FRONTS, data_path
from dreamfields.storage import atomic_write
from dreamfields.train.fronts import accuracy, fit_probe, named_fronts
from dreamfields.train.shapes import held_out, read_shapes


def main() -> int:
    """Fit, measure, write, and print the digest."""
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.stdout.write(f"{__doc__}\n")
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        named = named_fronts(tuple(read_shapes(Path(sys.argv[1])).shapes.values()))
    except DreamfieldsError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    torch.set_num_threads(1)
    embeddings = SentenceEncoder().encode([sentence for sentence, _ in named.values()])
    fronts = torch.tensor([front for _, front in named.values()])
    unseen = torch.tensor([held_out(name) for name in named])
    probe = fit_probe(embeddings[~unseen], fronts[~unseen])
    right = accuracy(probe, embeddings[unseen], fronts[unseen])
    most = float((~fronts[unseen]).float().mean())
    sys.stdout.write(
        f"{int(fronts.sum())} of {len(named)} names have a front; of {int(unseen.sum())} held-out names {right:.1%} "
        f"are right, where none having a front would be {most:.1%}\n"
    )
    path = data_path(FRONTS)
    atomic_write(path, probe.content())
    sys.stdout.write(f"{path}: sha256 {file_sha256(path)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
