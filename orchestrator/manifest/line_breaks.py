"""What ends a line in YAML 1.2: LF, CR and CRLF. libyaml, which speaks YAML 1.1, knows three characters more."""

_TEXT_IN_1_2 = ("\x85", "\u2028", "\u2029")
_PRIVATE_USE = range(0xE000, 0xF900)


def normalize(text: str) -> str:
    """The text with LF as its only line break."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def hide(text: str) -> tuple[str, dict[int, str]]:
    """The text with stand-ins for what only YAML 1.1 takes for line breaks, and the `str.translate` table back."""
    present = [character for character in _TEXT_IN_1_2 if character in text]
    if not present:
        return text, {}
    unused = (number for number in _PRIVATE_USE if chr(number) not in text)
    back = dict(zip(unused, present, strict=False))
    return text.translate({ord(character): number for number, character in back.items()}), back
