"""What disks, copies and editors do to a file: bits that flip, bytes that are cut out, put in or written over."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st


@dataclass(frozen=True)
class Damage:
    """One thing that befalls a file; ``where`` is taken modulo its length."""

    kind: str
    where: int
    content: bytes

    def befall(self, file: bytes) -> bytes:
        at = self.where % max(1, len(file))
        before, after = file[:at], file[at:]
        if self.kind == "flip":
            return before + bytes([after[0] ^ (1 << self.content[0] % 8)]) + after[1:] if after else file
        if self.kind == "end here":
            return before
        if self.kind == "cut":
            return before + after[len(self.content) :]
        if self.kind == "insert":
            return before + self.content + after
        return before + self.content + after[len(self.content) :]  # written over


KINDS = ("flip", "end here", "cut", "insert", "write over")
BYTES = st.binary(min_size=1, max_size=12) | st.sampled_from([b"0", b"1", b"9", b"-", b".", b"e9", b"null", b'"', b"["])
damages = st.lists(
    st.builds(Damage, st.sampled_from(KINDS), st.integers(0, 2**32), BYTES | st.binary(min_size=500, max_size=500)),
    min_size=1,
    max_size=3,
)


def damaged(file: bytes, what: list[Damage]) -> bytes:
    """The file after all that."""
    for each in what:
        file = each.befall(file)
    return file
