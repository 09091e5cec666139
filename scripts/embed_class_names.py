"""Write the embeddings of ImageNet's class names in the default template: python scripts/embed_class_names.py.

Without the file a run would compute them at each start, which takes longer than loading all weights. Prints the digest
that `dreamfields.guidance.lit.weights` must hold. Values are 32-bit, so that runs are the same to the last bit as with
embeddings computed on the machine that this was run on.
"""

import sys

import safetensors.torch

from dreamfields.guidance.clip.hub import file_sha256
from dreamfields.guidance.lit.closed_form import embed_class_names
from dreamfields.guidance.lit.towers import SentenceEncoder
from dreamfields.guidance.lit.weights import CLASS_SENTENCES, data_path
from dreamfields.guidance.prompts import wordings
from dreamfields.guidance.settings import GuidanceSettings
from dreamfields.storage import atomic_write


def main() -> int:
    """Compute, write, and print the digest."""
    if len(sys.argv) > 1:
        sys.stdout.write(f"{__doc__}\n")
        return 0 if sys.argv[1] in ("-h", "--help") else 2
    (template,) = wordings(GuidanceSettings().template)
    embeddings = embed_class_names(SentenceEncoder(), template)
    path = data_path(CLASS_SENTENCES)
    atomic_write(path, safetensors.torch.save({"embeddings": embeddings}, {"template": template}))
    sys.stdout.write(f"{path}: sha256 {file_sha256(path)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
