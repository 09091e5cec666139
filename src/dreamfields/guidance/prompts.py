"""Prompts: their normal form, and the sentences that a template makes of them."""

import unicodedata

from dreamfields.errors import UsageError

LONGEST = 2000  # Characters of the longest prompt


def clean_prompt(prompt: str) -> str:
    """Return a prompt in its normal form: NFC, one line, no control characters, no outer space.

    Raises UsageError: nothing readable is left, it is too long, or it holds a lone surrogate or NUL.
    """
    cleaned = clean_text(prompt, "the prompt")
    if not cleaned:
        raise UsageError('the prompt is empty; say what to make, for example: dreamfields generate "a teapot"')
    return cleaned


def clean_text(text: str, name: str) -> str:
    """Return a text in the normal form of prompts, "" if nothing readable is left; errors call it by its name.

    Raises UsageError: it is too long, or holds a lone surrogate or NUL.
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
    """Return "prompt, style"; without a style, the prompt."""
    return f"{prompt.rstrip('.')}, {style}" if style else prompt


def fill_template(template: str, prompt: str) -> str:
    """Return the template with the prompt, without its final dot, in place of "{}"."""
    return template.replace("{}", prompt.rstrip("."))


def wordings(template: str) -> tuple[str, ...]:
    """Return the wordings of a template, which "|" separates; their embeddings are averaged."""
    return tuple(wording.strip() for wording in template.split("|"))


def fill_wordings(template: str, prompt: str) -> tuple[str, ...]:
    """Return each wording of a template, filled with the prompt."""
    return tuple(fill_template(wording, prompt) for wording in wordings(template))
