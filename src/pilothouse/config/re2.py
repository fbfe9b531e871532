"""Whether a regular expression is valid RE2, the dialect of Envoy: checked here, because there is no binding of RE2.

A scanner over RE2's grammar (github.com/google/re2/wiki/Syntax) as far as both RE2 and Go's copy of it accept it, since
istiod checks with Go's. It builds nothing; it says what is wrong first. Envoy would refuse every route of a response
for one bad expression, so doubtful constructs are refused.
"""

import re
from typing import Final

MAX_LENGTH: Final = 1024
"""Characters; istiod's limit, which keeps compiled programs within Envoy's."""
MAX_REPEAT: Final = 1000
"""RE2's limit for a counted repetition, nested ones multiplied."""
MAX_SIZE: Final = 16_384
"""Steps of the expression with its repetitions written out: half of the compiled size that our Envoys allow (32,768),
because this counts steps and not instructions."""

_REPETITION: Final = re.compile(r"\{(\d{1,10})(,(\d{0,10}))?\}", re.ASCII)
_FLAGS: Final = re.compile(r"\(\?([imsU]*(?:-[imsU]+)?)([:)])")
_NAMED: Final = re.compile(r"\(\?P?<([A-Za-z0-9_]+)>", re.ASCII)
_POSIX_CLASS: Final = re.compile(
    r"\[:\^?(?:alnum|alpha|ascii|blank|cntrl|digit|graph|lower|print|punct|space|upper|word|xdigit):\]"
)
_UNICODE_CLASS: Final = re.compile(r"\\[pP](?:([A-Z])|\{\^?([A-Za-z_]+)\})")
_RANGE: Final = re.compile(r"-[^\]]", re.DOTALL)
_NUMERIC_ESCAPE: Final = re.compile(r"\\(?:x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,6}\}|0[0-7]{0,2}|[1-7][0-7]{1,2})")
_CATEGORY_WORDS: Final = (
    "C Cc Cf Co Cs L Ll Lm Lo Lt Lu M Mc Me Mn N Nd Nl No P Pc Pd Pe Pf Pi Po Ps S Sc Sk Sm So Z Zl Zp Zs Any Arabic "
    "Armenian Bengali Common Cyrillic Devanagari Ethiopic Georgian Greek Han Hangul Hebrew Hiragana Katakana Khmer "
    "Latin Mongolian Tamil Thai Tibetan"
)
_CATEGORIES: Final = frozenset(_CATEGORY_WORDS.split())
"""Unicode classes that are accepted: all general categories, and the scripts that a route may plausibly need."""
_CLASS_SIZE: Final = 4
_UNICODE_SIZE: Final = 32
"""Steps of a class such as ``\\w``, and of a Unicode class over bytes."""
_MAX_CODE: Final = 0xFF
"""Envoy compiles expressions over bytes, not over Unicode."""
_CONTROL: Final = {"a": 7, "f": 12, "t": 9, "n": 10, "r": 13, "v": 11}
_REFUSED: Final = {
    "(?=": "RE2 has no look-ahead",
    "(?!": "RE2 has no look-ahead",
    "(?<=": "RE2 has no look-behind",
    "(?<!": "RE2 has no look-behind",
    "(?>": "RE2 has no atomic groups",
    "(?#": "RE2 has no comments",
    "(?(": "RE2 has no conditions",
    "(?P=": "RE2 has no back-references",
    "(?P>": "RE2 has no recursion",
    "(?R": "RE2 has no recursion",
    "(?|": "RE2 has no branch reset",
}


class _Refused(Exception):
    """The expression is not valid; the text says why."""


def regex_fault(expression: str) -> str:
    """Why ``expression`` is not valid RE2, in a few words; empty if it is."""
    if len(expression) > MAX_LENGTH:
        return f"it has {len(expression)} characters, and at most {MAX_LENGTH} are allowed"
    try:
        _Scanner(expression).scan()
    except _Refused as refusal:
        return str(refusal)
    return ""


class _Scanner:
    """Walks the expression once. Each open group remembers whether something repeatable precedes."""

    def __init__(self, expression: str) -> None:
        self._text = expression
        self._at = 0
        self._groups: list[int] = [1]
        self._atom = 0
        self._sizes: list[int] = [0]
        self._last_size = 0
        self._names: set[str] = set()

    def scan(self) -> None:
        """Raise ``_Refused`` at the first construct that RE2 does not have."""
        while self._at < len(self._text):
            match self._text[self._at]:
                case "(":
                    self._open()
                case ")":
                    self._close()
                case "|":
                    self._step(0)
                case "*" | "+" | "?" | "{" as operator:
                    self._repeat(operator)
                case "[":
                    self._bracket()
                case "\\":
                    self._escape()
                case ".":
                    self._step(1, size=2)
                case _:
                    self._step(1)
        if len(self._groups) > 1:
            raise _Refused("a '(' is not closed")

    def _step(self, atom: int, width: int = 1, size: int = 1) -> None:
        """Move on. ``atom`` is the largest repetition inside what was passed, 0 if nothing there can be repeated.

        ``size`` is how many steps it takes when written out.
        """
        self._at += width
        self._atom = atom
        self._groups[-1] = max(self._groups[-1], atom)
        self._last_size = size
        self._grow(size)

    def _grow(self, size: int) -> None:
        self._sizes[-1] += size
        if sum(self._sizes) > MAX_SIZE:
            raise _Refused(f"with its repetitions written out it has more than {MAX_SIZE} steps")

    def _open(self) -> None:
        for prefix, reason in _REFUSED.items():
            if self._text.startswith(prefix, self._at):
                raise _Refused(reason)
        width = 1
        if self._text.startswith("(?", self._at):
            named, flags = _NAMED.match(self._text, self._at), _FLAGS.match(self._text, self._at)
            if named is not None:
                if named[1] in self._names:
                    raise _Refused(f"the group name '{named[1]}' is used twice")
                self._names.add(named[1])
                width = len(named[0])
            elif flags is not None and (flags[1] or flags[2] == ":"):
                if flags[2] == ")":
                    return self._step(0, len(flags[0]))
                width = len(flags[0])
            else:
                raise _Refused(f"'{self._text[self._at : self._at + 4]}' does not begin a group that RE2 has")
        self._at += width
        self._groups.append(1)
        self._sizes.append(0)
        self._atom = 0

    def _close(self) -> None:
        if len(self._groups) == 1:
            raise _Refused("a ')' was never opened")
        self._step(self._groups.pop(), size=self._sizes.pop())

    def _repeat(self, operator: str) -> None:
        times, width = 1, 1
        if operator == "{":
            counted = _REPETITION.match(self._text, self._at)
            if counted is None:
                return self._step(1)
            low = int(counted[1])
            high = int(counted[3]) if counted[3] else low
            if low > high or max(low, high) > MAX_REPEAT:
                raise _Refused(f"the repetition {counted[0]} is not between 0 and {MAX_REPEAT}")
            times, width = max(high, 1), len(counted[0])
        if self._atom == 0:
            raise _Refused(f"there is nothing for '{operator}' to repeat")
        if self._atom * times > MAX_REPEAT:
            raise _Refused(f"nested repetitions multiply to more than {MAX_REPEAT}")
        repeated, size = self._atom * times, self._last_size
        self._step(repeated, width, size=size * (times - 1))
        self._last_size = size * times
        if self._text.startswith("?", self._at):
            self._at += 1
        after = self._text[self._at : self._at + 1]
        if (after and after in "*+?") or (after == "{" and _REPETITION.match(self._text, self._at)):
            raise _Refused(f"'{self._text[self._at - width : self._at + 1]}' repeats a repetition")

    def _bracket(self) -> None:
        self._at += 1
        if self._text.startswith("^", self._at):
            self._at += 1
        first = True
        members = 1
        while first or not self._text.startswith("]", self._at):
            if self._at >= len(self._text):
                raise _Refused("a '[' is not closed")
            self._range()
            first = False
            members += 1
        self._step(1, size=members)

    def _range(self) -> None:
        """One member of a bracket: a character, a range, or a class."""
        posix = _POSIX_CLASS.match(self._text, self._at)
        if posix is not None:
            self._at += len(posix[0])
            return
        if self._text.startswith("[:", self._at) and ":]" in self._text[self._at :]:
            raise _Refused("there is no such class in brackets")
        low = self._member()
        if low is not None and _RANGE.match(self._text, self._at):
            self._at += 1
            high = self._member()
            if high is None or high < low:
                raise _Refused("a range in brackets is upside down")

    def _member(self) -> int | None:
        """Pass one character of a bracket; its code, or None for a class."""
        if self._text[self._at] != "\\":
            self._at += 1
            return ord(self._text[self._at - 1])
        escape = self._text[self._at : self._at + 2]
        width = self._unicode_class()
        if width or escape[1:] in set("dDwWsS"):
            self._at += width or 2
            return None
        return self._character()

    def _escape(self) -> None:
        pair = self._text[self._at : self._at + 2]
        if pair == r"\Q":
            end = self._text.find(r"\E", self._at)
            quoted = (end if end >= 0 else len(self._text)) - self._at
            return self._step(1 if quoted > 2 else self._atom, quoted + (2 if end >= 0 else 0), size=quoted)
        width = self._unicode_class()
        if width:
            return self._step(1, width, size=_UNICODE_SIZE)
        if pair[1:] in set("dDwWsSbBAz"):
            return self._step(1, 2, size=_CLASS_SIZE)
        self._character()
        self._step(1, 0)

    def _unicode_class(self) -> int:
        """The width of the Unicode class that begins here, 0 if none does."""
        found = _UNICODE_CLASS.match(self._text, self._at)
        if found is None:
            return 0
        if (found[1] or found[2]) not in _CATEGORIES:
            raise _Refused(f"the Unicode class {found[0]} is not known")
        return len(found[0])

    def _character(self) -> int:
        """Pass an escape that stands for one character; its code."""
        numeric = _NUMERIC_ESCAPE.match(self._text, self._at)
        if numeric is not None:
            self._at += len(numeric[0])
            digits = numeric[0][1:]
            code = int(digits.strip("x{}"), 16) if digits[0] == "x" else int(digits, 8)
            if code > _MAX_CODE:
                raise _Refused(f"there is no character {numeric[0]}")
            return code
        letter = self._text[self._at + 1 : self._at + 2]
        if not letter:
            raise _Refused("it ends with a backslash")
        if letter.isdigit():
            raise _Refused("RE2 has no back-references")
        if letter in _CONTROL:
            self._at += 2
            return _CONTROL[letter]
        if letter.isascii() and not letter.isalnum():
            self._at += 2
            return ord(letter)
        raise _Refused(f"RE2 has no escape '\\{letter}'")
