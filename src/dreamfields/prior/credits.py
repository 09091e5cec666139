"""The makers whom the shapes of a library ask to be named, as a document."""

from typing import Final

from dreamfields.prior.library import ShapeLibrary

_LICENCES: Final = {
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC BY 3.0 US": "https://creativecommons.org/licenses/by/3.0/us/",
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
}


def credits_document(library: ShapeLibrary) -> str:
    """Return the credits of a library, each once, in Markdown; "" if no shape asks for one.

    All shapes are changed: they are solid voxels, without the detail and the texture of the models.
    """
    credits = sorted({credit for credit in library.credits if credit}, key=str.casefold)
    if not credits:
        return ""
    licences = [f"* {name}: {address}" for name, address in _LICENCES.items()]
    count = sum(bool(credit) for credit in library.credits)
    lines = [
        "# Makers of shapes that ask for a credit",
        "",
        f"{count} of {len(library.names)} shapes, changed: turned into voxels, without detail and texture. Whoever",
        "shows what began as one of them names its maker; the files of a run do so by themselves.",
        "",
        *licences,
        "",
        *(f"* {credit}" for credit in credits),
        "",
    ]
    return "\n".join(lines)
