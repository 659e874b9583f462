"""Whether two answers are the same maths: numbers, fractions, roots, polynomials, tuples and sets.

Answers are compared by value: expressions are evaluated at several points, so that "2x+1" equals
"1 + 2x". Text that is no expression compares by its normal form. Nothing is ever executed; what is
too long or too large is not equal to anything but itself.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Sequence
from fractions import Fraction

LONGEST = 300
POINTS = (0.37, 1.91, -1.23)
"""Values that letters are given, one set after another; equal expressions agree on all."""
LARGEST = 1e12
CLOSE = 1e-9

SPACES = re.compile(r"\\[,;:! ]|\\q?quad|~|\\left|\\right|\\displaystyle|\\limits")
WRAPPED = re.compile(r"\\(?:text|mathrm|mbox|textbf|mathbf|boxed|box)\s?\{([^{}]*)\}")
SHORT_ROOT = re.compile(r"\\sqrt\s?(\w)")
UNITS = re.compile(r"(?<=[\d}\s])(?:\^\{?2\}?\s?)?\b(?:degrees?|cm|mm|km|units?|inches|feet)\b\.?")
THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
PREFIX = re.compile(r"^[a-zA-Z]\s?(?:=|\\in(?![a-z]))\s?")
EDGES = " \t\r\n.,;:$"


def same_maths(said: str, gold: str) -> bool:
    """Tell whether two short answers have the same value."""
    left, right = plain(said), plain(gold)
    if left == right:
        return bool(left)
    if max(len(left), len(right)) > LONGEST or not left or not right:
        return False
    kind, ours, theirs = _listed(left), _parts(left), _parts(right)
    if kind != _listed(right) or len(ours) != len(theirs):
        return False
    if kind == "{}" or not kind:
        return _same_set(ours, theirs)
    return all(_same_value(a, b) for a, b in zip(ours, theirs, strict=True))


def plain(text: str) -> str:
    """Return an answer without dollars, spacing, wrappers, units and a leading "x =".

    Fractions and roots in short form get their braces, thousands lose their commas.
    """
    out = text.strip().strip("$").replace("−", "-").replace("\\dfrac", "\\frac")
    out = out.replace("\\tfrac", "\\frac").replace("\\%", "").replace("%", "")
    out = SPACES.sub(" ", out)
    out = re.sub(r"\^\s?\{?\\circ\}?|°", "", out)
    out = WRAPPED.sub(lambda m: m.group(1), out).replace("\\(", "").replace("\\)", "")
    out = re.sub(r"\\frac\s?(\d)\s?(\d)", r"\\frac{\1}{\2}", out)
    out = re.sub(r"\\frac\s?(\d)\s?\{", r"\\frac{\1}{", out)
    out = SHORT_ROOT.sub(r"\\sqrt{\1}", out)
    out = UNITS.sub("", THOUSANDS.sub("", out)).replace("\\$", "").replace("$", "")
    out = PREFIX.sub("", out.strip(EDGES))
    return "".join(out.split())


def _listed(text: str) -> str:
    """The brackets around a tuple, an interval or a set; none for a bare list or one value."""
    body = text.replace("\\{", "{").replace("\\}", "}")
    if len(body) > 1 and body[0] in "([{" and body[-1] in ")]}" and len(_split(body[1:-1])) > 1:
        return body[0] + body[-1]
    return ""


def _parts(text: str) -> list[str]:
    body = text.replace("\\{", "{").replace("\\}", "}") if text.startswith("\\{") else text
    return _split(body[1:-1] if _listed(text) else text)


def _split(text: str) -> list[str]:
    """Cut at the commas that stand outside all brackets."""
    parts, depth, begin = [], 0, 0
    for at, sign in enumerate(text):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            parts.append(text[begin:at])
            begin = at + 1
    return [*parts, text[begin:]]


def _same_set(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    left = list(theirs)
    for one in ours:
        match = next((other for other in left if _same_value(one, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_value(one: str, other: str) -> bool:
    if one.casefold() == other.casefold():
        return bool(one)
    try:
        pairs = [(value(one, shift), value(other, shift)) for shift in range(len(POINTS))]
    except (ValueError, ZeroDivisionError, OverflowError):
        return False
    return all(abs(a - b) <= CLOSE * max(1.0, abs(a), abs(b)) for a, b in pairs)


def value(text: str, shift: int = 0) -> complex:
    """Return the value of an expression, with letters at the ``shift``-th set of points.

    Raises ``ValueError`` for what is no expression.
    """
    try:
        return complex(Fraction(text))
    except (ValueError, ZeroDivisionError):
        return Expression(text, shift).whole()


class Expression:
    """A recursive descent over LaTeX and plain arithmetic; it evaluates while it reads."""

    TOKEN = re.compile(r"\\[a-zA-Z]+|\d+(?:\.\d+)?|\.\d+|[a-zA-Z]|\*\*|[-+*/^(){}\[\]=!]")
    NAMES = {"\\pi": math.pi, "π": math.pi, "\\infty": LARGEST}
    FUNCTIONS = {"\\sin": cmath.sin, "\\cos": cmath.cos, "\\tan": cmath.tan, "\\ln": cmath.log}
    CLOSED_BY = {"(": ")", "{": "}", "[": "]"}
    DEEPEST = 40

    def __init__(self, text: str, shift: int) -> None:
        text = text.replace("\\cdot", "*").replace("\\times", "*").replace("\\div", "/")
        text = text.replace("×", "*").replace("·", "*").replace("π", "\\pi").replace("√", "\\sqrt")
        self.tokens = self.TOKEN.findall(text)
        if "".join(self.tokens) != text:
            raise ValueError("not an expression")
        self.at, self.shift, self.depth = 0, shift, 0

    def whole(self) -> complex:
        """The value of all of it. Raises ``ValueError`` if something is left over."""
        result = self.sum()
        if self.at < len(self.tokens):
            raise ValueError("not an expression")
        return result

    def sum(self) -> complex:
        """Terms joined by plus and minus."""
        self.depth += 1
        if self.depth > self.DEEPEST:
            raise ValueError("nested too deeply")
        result = self.product()
        while self._see() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            result += sign * self.product()
        self.depth -= 1
        return result

    def product(self) -> complex:
        """Factors, also side by side: 2x is 2 times x."""
        result = self.signed()
        while (token := self._see()) and token not in (*"+-)}]=",):
            if token == "/":
                self._take()
                result /= self.signed()
            else:
                self._take() if token == "*" else None
                result *= self.signed()
        return result

    def signed(self) -> complex:
        """A power with any number of signs before it."""
        sign = 1
        while self._see() in ("+", "-"):
            sign = -sign if self._take() == "-" else sign
        return sign * self.power()

    def power(self) -> complex:
        """A factor and what it is raised to."""
        base = self.atom()
        if self._see() not in ("^", "**"):
            return base
        self._take()
        exponent = self.atom() if self._see() not in ("-", "+") else self.signed()
        if abs(exponent) > 64 or abs(base) > LARGEST:
            raise ValueError("too large")
        return base**exponent

    def atom(self) -> complex:
        """A number, a letter, a fraction, a root, a function or something in brackets."""
        token = self._take()
        if token in self.CLOSED_BY:
            return self._inside(self.CLOSED_BY[token])
        if token in ("\\frac", "\\sqrt"):
            return self._braced() / self._braced() if token == "\\frac" else self._root()
        if token in self.FUNCTIONS:
            return self.FUNCTIONS[token](self.power())
        if token in self.NAMES:
            return self.NAMES[token]
        if len(token) == 1 and token.isalpha():
            return POINTS[self.shift] * (1 + ord(token) / 97)
        return complex(float(token))

    def _root(self) -> complex:
        degree = 2.0 + 0j
        if self._see() == "[":
            self._take()
            degree = self._inside("]")
        return complex(self.atom() ** (1 / degree))

    def _braced(self) -> complex:
        if self._take() != "{":
            raise ValueError("a brace is missing")
        return self._inside("}")

    def _inside(self, closing: str) -> complex:
        result = self.sum()
        if self._take() != closing:
            raise ValueError("a bracket is missing")
        return result

    def _see(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._see()
        self.at += 1
        if not token:
            raise ValueError("it ends too early")
        return token
