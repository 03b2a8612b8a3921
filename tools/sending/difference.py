"""The difference between two texts that are mostly the same, such as one mailing to two recipients.

It is made for HTML of any length, in about linear time: exact, and small if the texts differ in a few words.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator

TAG = re.compile(r"<?[^<]+|<")
# Words are compared as a whole, so that a name is either the same or it is not.
WORD = re.compile(r'[\s<>"]+|[^\s<>"]+')
BOUNDARIES = frozenset(' \t\r\n<>"')
WINDOW = 32_768  # deflate looks back no further


def pack(text: str) -> bytes:
    """Return a text compressed."""
    return zlib.compress(_encode(text), 6)


def unpack(packed: bytes) -> str:
    """Return the text that was packed.

    :raise zlib.error: if the bytes are damaged
    """
    return _decode(zlib.decompress(packed))


def difference(base: str, text: str) -> bytes:
    """Return what makes ``text`` out of ``base``, compressed. See `patch`."""
    hunks, position = [], 0
    for start, end, replacement in _compare(base, text):
        hunks.append((start - position, end - start, replacement))
        position = end
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=_encode(base)[-WINDOW:])
    said = json.dumps(hunks, ensure_ascii=False, separators=(",", ":"))
    return compressor.compress(_encode(said)) + compressor.flush()


def patch(base: str, changes: bytes) -> str:
    """Return the text of which `difference` returned these ``changes`` against ``base``.

    :raise ValueError, zlib.error: if the bytes are damaged
    """
    decompressor = zlib.decompressobj(-15, zdict=_encode(base)[-WINDOW:])
    said = decompressor.decompress(changes) + decompressor.flush()
    pieces, position = [], 0
    for gap, length, replacement in json.loads(_decode(said)):
        pieces += [base[position : position + gap], replacement]
        position += gap + length
    return "".join(pieces) + base[position:]


def common(one: str, other: str) -> str:
    """Return ``one`` without the words that ``other`` has not, or has elsewhere."""
    pieces, position = [], 0
    for start, end, _replacement in _compare(one, other):
        pieces.append(one[position:start])
        position = end
    return "".join(pieces) + one[position:]


def _compare(base: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, replacement) for the parts of ``base`` that differ, in order.

    First it looks which tags and the texts behind them differ, and then into these word by word: that is much faster
    than to look at all words.
    """
    if base == text:
        return
    for start, end, part in _compare_by(TAG, base, text, 0):
        yield from _compare_by(WORD, base[start:end], part, start)


def _compare_by(token: re.Pattern[str], base: str, text: str, position: int) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, replacement) as `_compare` does, where the tokens differ.

    :param position: where ``base`` begins in the whole text
    """
    start = _common_start(base, text)
    rest = _common_end(base[start:], text[start:])
    old = token.findall(base[start : len(base) - rest])
    new = token.findall(text[start : len(text) - rest])
    position, seen = position + start, 0
    for old_start, old_end, new_start, new_end in _differing(old, new):
        position += sum(map(len, old[seen:old_start]))
        end = position + sum(map(len, old[old_start:old_end]))
        yield position, end, "".join(new[new_start:new_end])
        position, seen = end, old_end


def _common_start(one: str, other: str) -> int:
    """Return how many characters two texts begin with in common, up to the beginning of a word."""
    same, different = 0, min(len(one), len(other)) + 1
    while different - same > 1:
        middle = (same + different) // 2
        if one.startswith(other[same:middle], same):
            same = middle
        else:
            different = middle
    while same and one[same - 1] not in BOUNDARIES:
        same -= 1
    return same


def _common_end(one: str, other: str) -> int:
    """Return how many characters two texts end with in common, from the end of a word on."""
    same, different = 0, min(len(one), len(other)) + 1
    while different - same > 1:
        middle = (same + different) // 2
        if one.endswith(other[len(other) - middle : len(other) - same], 0, len(one) - same):
            same = middle
        else:
            different = middle
    while same and one[len(one) - same] not in BOUNDARIES:
        same -= 1
    return same


def _differing(old: list[str], new: list[str]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (start, end) in ``old`` and (start, end) in ``new`` of the runs of tokens that differ."""
    old_start = new_start = 0
    for old_end, new_end in [*_anchors(old, new), (len(old), len(new))]:
        if old_end - old_start == new_end - new_start:
            yield from _differing_one_by_one(old, new, old_start, old_end, new_start)
        else:
            yield old_start, old_end, new_start, new_end
        old_start, new_start = old_end, new_end


def _differing_one_by_one(
    old: list[str], new: list[str], start: int, end: int, new_start: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield the runs that differ where both sides have as many tokens: (start, end) in ``old`` and in ``new``."""
    shift, begin = new_start - start, None
    for position in range(start, end + 1):
        is_different = position < end and old[position] != new[position + shift]
        if is_different and begin is None:
            begin = position
        elif not is_different and begin is not None:
            yield begin, position, begin + shift, position + shift
            begin = None


def _anchors(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """Return where tokens stand that either side has exactly once, in the order of both: they hold the sides together.

    A token that has moved far forward hides those that it has overtaken: then more is taken for different.
    """
    once = {token for token, count in Counter(old).items() if count == 1}
    counts = Counter(new)
    places = {token: position for position, token in enumerate(old) if token in once and counts[token] == 1}
    anchors, last = [], -1
    for position, token in enumerate(new):
        if (place := places.get(token, -1)) > last:
            anchors.append((place, position))
            last = place
    return anchors


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
