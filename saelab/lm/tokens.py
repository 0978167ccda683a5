"""Text to token ids and back, straight through the tokenizer's Rust core.

The transformers layer above it is passed by where it adds what nobody asked for: special tokens, and a warning
whenever a document is longer than the model's context.
"""

import json
import re
from collections.abc import Sequence
from typing import Any


class Tokens:
    """What a model's tokenizer does, and how each of its tokens is shown."""

    def __init__(self, tokenizer: Any) -> None:
        self.core = tokenizer.backend_tokenizer
        self.core.no_truncation()
        self.core.no_padding()
        self.special = frozenset(int(i) for i in tokenizer.all_special_ids)
        self._bytes = _byte_of_letter() if _is_byte_level(self.core) else None
        self._shown: dict[int, str] = {}

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and, for each, the characters (start, end) of `text` it stands for."""
        encoded = self.core.encode(text, add_special_tokens=False)
        return encoded.ids, encoded.offsets

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens written out."""
        text: str = self.core.decode(list(ids), skip_special_tokens=False)
        return text

    def show(self, token: int) -> str:
        """The text of one token; bytes that are no whole character are written \\xNN."""
        if token not in self._shown:
            self._shown[token] = self._text_of(token)
        return self._shown[token]

    def _text_of(self, token: int) -> str:
        piece = self.core.id_to_token(token)
        if piece is None:  # some models have more rows in their embedding than tokens in their vocabulary
            return f"<{token}>"
        if token in self.special:
            return str(piece)
        if self._bytes and all(letter in self._bytes for letter in piece):
            return bytes(self._bytes[letter] for letter in piece).decode("utf-8", errors="backslashreplace")
        byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
        if byte:
            return bytes([int(byte[1], 16)]).decode("utf-8", errors="backslashreplace")
        return str(piece).replace("▁", " ")  # SentencePiece's sign for a space


def _is_byte_level(core: Any) -> bool:
    return '"ByteLevel"' in json.dumps(json.loads(core.to_str())["decoder"])


def _byte_of_letter() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the rest for letters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + i): byte for i, byte in enumerate(rest)}
