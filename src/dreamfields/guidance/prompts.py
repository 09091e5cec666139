"""Prompts: what may be asked, and the sentences a prompt becomes."""

import unicodedata

from dreamfields.errors import UsageError

LONGEST = 2000
"""Characters a prompt may have."""


def clean_prompt(prompt: str) -> str:
    """Return a prompt as it is used everywhere: NFC, one line, no control characters, no outer space.

    Raises:
        UsageError: nothing readable is left, it is too long, or it holds what no text can (a lone surrogate, NUL).
    """
    cleaned = clean_text(prompt, "the prompt")
    if not cleaned:
        raise UsageError('the prompt is empty; say what to make, for example: dreamfields generate "a teapot"')
    return cleaned


def clean_text(text: str, name: str) -> str:
    """Return a text in the form that prompts have, "" if nothing readable is left; its name is for the sentences.

    Raises:
        UsageError: it is too long, or holds what no text can (a lone surrogate, NUL).
    """
    if any(unicodedata.category(character) == "Cs" or character == "\0" for character in text):
        raise UsageError(f"{name} holds a character that is not text; type it again in plain letters")
    spaced = "".join(" " if character.isspace() else character for character in text)
    readable = "".join(character for character in spaced if unicodedata.category(character) != "Cc")
    # Composed last: a control character may have stood between a letter and its accent.
    cleaned = " ".join(unicodedata.normalize("NFC", readable).split())
    if len(cleaned) > LONGEST:
        raise UsageError(f"{name} has {len(cleaned)} characters; at most {LONGEST} are allowed, so shorten it")
    return cleaned


def with_style(prompt: str, style: str) -> str:
    """Return a prompt with a style written behind it, after a comma; without a style, the prompt."""
    return f"{prompt.rstrip('.')}, {style}" if style else prompt


def fill_template(template: str, prompt: str) -> str:
    """Return a sentence about the prompt: "{}" in the template stands for it, without a final dot."""
    return template.replace("{}", prompt.rstrip("."))


def wordings(template: str) -> tuple[str, ...]:
    """Return the wordings of a template, which are parted by "|"; guides look for the mean of what they mean."""
    return tuple(wording.strip() for wording in template.split("|"))


def fill_wordings(template: str, prompt: str) -> tuple[str, ...]:
    """Return one sentence about the prompt for each wording of a template."""
    return tuple(fill_template(wording, prompt) for wording in wordings(template))
