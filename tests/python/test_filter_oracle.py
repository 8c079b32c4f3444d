"""Random filter expressions, run by vecdb and judged by others.

Every expression is made together with its meaning: a Python function over a row (written apart from the library, slow and
plain), and, where SQL can say it, a WHERE clause for sqlite3. vecdb must find the same rows. The driver program runs each
filter twice, plainly and with statistics and indexes, so that those are judged too. With --library every filter is also
asked of a real collection: two sealed segments with indexes, deleted rows in both, and growing rows.

    python3 tests/python/test_filter_oracle.py --driver build/tests/filter_driver --expressions 20000 --seed 1
"""

import argparse
import json
import operator
import os
import random
import re
import shutil
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
SCHEMA = {
    "dynamic": True,
    "fields": [
        {"name": "id", "type": "INT64", "primary": True},
        {"name": "i8", "type": "INT8", "nullable": True},
        {"name": "i16", "type": "INT16"},
        {"name": "i32", "type": "INT32", "nullable": True},
        {"name": "i64", "type": "INT64", "nullable": True},
        {"name": "f", "type": "FLOAT", "nullable": True},
        {"name": "d", "type": "DOUBLE", "nullable": True},
        {"name": "b", "type": "BOOL", "nullable": True},
        {"name": "s", "type": "VARCHAR", "nullable": True},
        {"name": "t", "type": "VARCHAR"},
        {"name": "ai", "type": "ARRAY", "element": "INT32", "nullable": True},
        {"name": "as", "type": "ARRAY", "element": "VARCHAR", "nullable": True},
        {"name": "ab", "type": "ARRAY", "element": "BOOL"},
        {"name": "af", "type": "ARRAY", "element": "FLOAT", "nullable": True},
        {"name": "j", "type": "JSON", "nullable": True},
    ],
}
SMALL_INTS = ["id", "i8", "i16", "i32"]
WORDS = ["", "a", "b", "ab", "abc", "b%", "a_c", "aé", "é", "日本", "abab", "A", "back\\slash", "it's", "z" * 40, 'q"q']
BIG = [INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**31, 0, 7]


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


# ---- values: None is "no value" ----


KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def kind(value):
    return KINDS[type(value)]


def same(a, b):
    """Deep equality in which True is not 1."""
    if a is None or b is None:
        return a is b
    what = kind(a)
    if what != kind(b):
        return False
    if what == "array":
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if what == "object":
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b


def compare(op, a, b):
    if a is None or b is None:
        return None
    what = kind(a)
    if what != kind(b):
        return None
    if op == "==":
        return same(a, b)
    if op == "!=":
        return not same(a, b)
    if what not in ("number", "string"):
        return None
    return ORDERS[op](a, b)  # strings by code point, which is the order of their UTF-8 too


def fit(value):
    if isinstance(value, int):
        return value if INT64_MIN <= value <= INT64_MAX else None
    return None if value != value else value


def arithmetic(op, a, b):
    if a is None or b is None or kind(a) != "number" or kind(b) != "number":
        return None
    integers = isinstance(a, int) and isinstance(b, int)
    if op in "% & | ^ << >>".split() and not integers:
        return None
    if op == "+":
        return fit(a + b)
    if op == "-":
        return fit(a - b)
    if op == "*":
        return fit(a * b)
    if op == "/":
        if b == 0:
            return None
        if not integers:
            return fit(a / b)
        return fit(abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1))
    if op == "%":
        return None if b == 0 else abs(a) % abs(b) * (-1 if a < 0 else 1)
    if op == "**":
        if integers and b >= 0:
            return fit(a**b)
        if a == 0 and b < 0:
            return None
        try:
            power = float(a) ** float(b)
            return None if isinstance(power, complex) else fit(power)
        except OverflowError:
            return float("-inf") if a < 0 and b % 2 == 1 else float("inf")
    if op == "&":
        return a & b
    if op == "|":
        return a | b
    if op == "^":
        return a ^ b
    if not 0 <= b <= 63:
        return None
    if op == ">>":
        return a >> b
    return ((a << b) + 2**63) % 2**64 - 2**63


def kleene_and(a, b):
    return False if a is False or b is False else None if a is None or b is None else True


def kleene_or(a, b):
    return True if a is True or b is True else None if a is None or b is None else False


def kleene_not(a):
    return None if a is None else not a


def like(pattern):
    out, i = "", 0
    while i < len(pattern):
        c = pattern[i]
        if c == "\\":
            i += 1
            out += re.escape(pattern[i])
        else:
            out += {"%": "(?s:.*)", "_": "(?s:.)"}.get(c, re.escape(c))
        i += 1
    return re.compile(out + r"\Z")


# ---- expressions: text with its precedence, meaning, SQL or None, type ----


class Expression:
    def __init__(self, text, level, run, sql=None, type=None, constant=False):
        self.text, self.level, self.run, self.sql, self.type, self.constant = text, level, run, sql, type, constant


LEVELS = {"**": 2, "*": 4, "/": 4, "%": 4, "+": 5, "-": 5, "<<": 6, ">>": 6, "in": 7, "<": 10, "<=": 10, ">": 10, ">=": 10,
          "==": 11, "!=": 11, "not": 12, "&": 13, "^": 14, "|": 15, "and": 16, "or": 17}
SQL_OPS = {"==": "=", "!=": "<>"}


class Maker:
    def __init__(self, dice):
        self.dice = dice
        self.params = {}

    def pick(self, *choices):
        return self.dice.choice(choices)

    def chance(self, p):
        return self.dice.random() < p

    def wrap(self, e, level):
        """The text of an operand that binds at least as tightly as `level`; sometimes in parentheses for nothing."""
        if e.level > level or self.chance(0.05):
            return "(" + e.text + ")"
        return e.text

    # constants

    def string_text(self, value):
        quote = self.pick("'", '"')
        out = ""
        for c in value:
            if c == "\\" or c == quote:
                out += "\\" + c
            elif ord(c) > 127 and self.chance(0.3):
                out += "\\u%04x" % ord(c) if self.chance(0.5) else "".join("\\x%02x" % byte for byte in c.encode())
            elif self.chance(0.02):
                out += "\\%03o" % ord(c) if ord(c) < 128 else c
            else:
                out += c
        return quote + out + quote

    def constant_text(self, value):
        if isinstance(value, bool):
            return self.pick(str(value).lower(), str(value), str(value).upper())
        if isinstance(value, int):
            form = self.dice.random()
            sign, digits = ("-", -value) if value < 0 else ("", value)
            if form < 0.05:
                return sign + hex(digits)
            if form < 0.08:
                return sign + bin(digits)
            if form < 0.1:
                return sign + ("0%o" % digits if digits else "0")
            return str(value)
        if isinstance(value, float):
            return repr(value) if "." in repr(value) or "e" in repr(value) else repr(value) + ".0"
        if isinstance(value, list):
            return "[" + ", ".join(self.constant_text(v) for v in value) + (", " if value and self.chance(0.05) else "") + "]"
        return self.string_text(value)

    def constant(self, value, type=None):
        text = self.constant_text(value)
        if self.chance(0.05):
            name = "p%d" % len(self.params)
            self.params[name] = value
            text = "{" + name + "}" if self.chance(0.5) else "{ " + name + " }"
        sql = None
        if isinstance(value, bool):
            sql = "1" if value else "0"
        elif isinstance(value, int):
            sql = str(value) if value != INT64_MIN else "(-9223372036854775807 - 1)"
        elif isinstance(value, float):
            sql = repr(value)
        elif isinstance(value, str):
            sql = "'" + value.replace("'", "''") + "'"
        return Expression(text, 3 if text.startswith("-") else 0, lambda row: value, sql, type or kind(value), True)

    def number(self, around):
        if around == "i64" and self.chance(0.6):
            return self.dice.choice(BIG)
        if around in ("f", "d"):
            return self.pick(0.1, 0.25, -1.5, 2.0, 3, -2, 1e10, 0.30000000000000004, self.dice.randint(-80, 80) / 4)
        if self.chance(0.15):
            return self.dice.randint(-80, 80) / 4
        if self.chance(0.05):
            return self.pick(300, -300, 70000, 2**40, 1e300, -1e300, float(2**63))
        return self.dice.randint(-20, 20)

    # fields

    def field(self, name):
        fields = {f["name"]: f["type"] for f in SCHEMA["fields"]}
        type = {"BOOL": "bool", "VARCHAR": "string", "FLOAT": "float", "DOUBLE": "double"}.get(fields[name], "int")
        text = name if self.chance(0.95) else "`" + name + "`"
        return Expression(text, 0, lambda row: row.get(name), '"' + name + '"', type)

    def path(self):
        """A JSON path, or an ARRAY's element or length."""
        form = self.dice.random()
        if form < 0.2:
            name = self.pick("ai", "as", "ab", "af")
            i = self.dice.randint(0, 3)

            def element(row):
                value = row.get(name)
                return value[i] if value is not None and i < len(value) else None

            type = {"ai": "int", "as": "string", "ab": "bool", "af": "float"}[name]
            return Expression("%s[%d]" % (name, i), 0, element, None, type)
        if form < 0.3:
            steps = self.pick(["ai"], ["as"], ["af"], ["j", "l"], ["j", "a"], ["dk"])
            text = steps[0] + "".join("[%s]" % self.constant_text(s) for s in steps[1:])

            def length(row):
                value = walk(row, steps)
                return len(value) if isinstance(value, list) else None

            return Expression(self.pick("array_length", "ARRAY_LENGTH") + "(" + text + ")", 0, length, None, "int")
        steps = self.pick(["j", "a"], ["j", "a"], ["j", "b"], ["j", "o", "x"], ["j", "l", 0], ["j", "l", 1], ["j", "none"],
                          ["j", "o"], ["j", "l"], ["j"], ["dk"], ["dk"], ["dk2", "x"], ["j", "日本"])
        text = steps[0] + "".join("[%s]" % (s if isinstance(s, int) else self.string_text(s)) for s in steps[1:])
        if steps[0] in ("dk", "dk2") and self.chance(0.5):
            text = "$meta[%s]" % self.string_text(steps[0]) + text[len(steps[0]):]
        return Expression(text, 0, lambda row: walk(row, steps), None, "json")

    # numbers

    def numeric(self, depth, integers=False):
        """A field, path or arithmetic."""
        if depth <= 0 or self.chance(0.55):
            form = self.dice.random()
            if form < 0.7:
                name = self.dice.choice(SMALL_INTS if integers else SMALL_INTS + ["i64", "f", "d"])
                return self.field(name)
            while True:
                e = self.path()
                if e.type in (("int", "json") if integers else ("int", "float", "json")):
                    return e
        ops = ["+", "-", "*", "/", "+", "-", "*", "**"] + (["%", "&", "|", "^", "<<", ">>"] if integers else [])
        op = self.dice.choice(ops)
        if self.chance(0.1):
            e = self.numeric(depth - 1, integers)
            sign = self.pick("-", "+", "~") if integers else self.pick("-", "+")

            def run(row, a=e.run):
                value = a(row)
                if value is None or kind(value) != "number" or (sign == "~" and not isinstance(value, int)):
                    return None
                return fit({"-": lambda: -value, "+": lambda: value, "~": lambda: ~value}[sign]())

            # sqlite3 makes a REAL of the least INT64 negated; here it is an overflow
            sql = "(%s%s)" % (sign + " ", e.sql) if e.sql and not (sign == "-" and "i64" in e.sql) else None
            return Expression(sign + " " * self.chance(0.3) + self.wrap(e, 3), 3, run, sql, "int" if integers else "number")
        left = self.numeric(depth - 1, integers)
        if op == "**":
            right = self.constant(self.dice.randint(0, 3))
        elif op in ("<<", ">>"):
            right = self.constant(self.dice.randint(0, 5))
        elif op in ("/", "%") and self.chance(0.7):
            right = self.constant(self.pick(1, 2, 3, -3, 7) if integers or self.chance(0.6) else self.pick(0.5, -2.5))
        elif self.chance(0.5):
            right = self.constant(self.dice.randint(-9, 9) if integers or self.chance(0.7) else self.pick(0.5, 0.1, -2.5))
            if op in ("/", "%") and right.run(None) == 0:
                right = self.constant(2)
        else:
            right = self.numeric(depth - 1, integers)
        if not right.constant and op not in ("/", "%", "**", "<<", ">>") and self.chance(0.2):
            left, right = right, left
        level = LEVELS[op]
        a = self.wrap(left, level)
        if op == "**" and a.startswith("-"):
            a = "(" + a + ")"
        text = a + self.pick(" ", "") + op + " " + self.wrap(right, level - 1)
        run = lambda row, a=left.run, b=right.run: arithmetic(op, a(row), b(row))
        sql = None
        if left.sql and right.sql and op not in ("**", "^") and "i64" not in left.sql + right.sql:
            sql = "(%s %s %s)" % (left.sql, op, right.sql)
            if op == "/" and not integers:
                sql = None  # which division SQL would do depends on the row
        return Expression(text, level, run, sql, "int" if integers else "number")

    # conditions

    def condition(self, depth):
        form = self.dice.random()
        if depth > 0 and form < 0.6:
            if self.chance(0.25):
                e = self.condition(depth - 1)
                sql = e.sql and "(NOT %s)" % e.sql
                sign = self.pick("not ", "NOT ", "!")
                return Expression(sign + self.wrap(e, 12), 12, lambda row, a=e.run: kleene_not(a(row)), sql)
            op = self.pick("and", "or")
            parts = [self.condition(depth - 1) for _ in range(self.pick(2, 2, 2, 3, 4))]
            level = LEVELS[op]
            word = self.pick(op, op.upper(), {"and": "&&", "or": "||"}[op])
            text = (" " + word + " ").join(self.wrap(p, level if i == 0 else level - 1) for i, p in enumerate(parts))
            fold = kleene_and if op == "and" else kleene_or

            def run(row, runs=[p.run for p in parts]):
                value = runs[0](row)
                for other in runs[1:]:
                    value = fold(value, other(row))
                return value

            sql = "(" + (" %s " % op).join(p.sql for p in parts) + ")" if all(p.sql for p in parts) else None
            return Expression(text, level, run, sql)
        return self.dice.choice([self.compare_field, self.compare_field, self.compare_numeric, self.range, self.membership,
                                 self.text, self.null, self.boolean, self.compare_path, self.compare_path, self.contains,
                                 self.two_fields, self.path_membership])()

    def comparison(self, op, left, right):
        if self.chance(0.2) and right.constant:
            mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(op, op)
            text = self.wrap(right, LEVELS[op]) + " " + mirrored + " " + self.wrap(left, LEVELS[op] - 1)
        else:
            text = self.wrap(left, LEVELS[op]) + self.pick(" ", "") + op + " " + self.wrap(right, LEVELS[op] - 1)
        run = lambda row, a=left.run, b=right.run: compare(op, a(row), b(row))
        sql = left.sql and right.sql and "(%s %s %s)" % (left.sql, SQL_OPS.get(op, op), right.sql)
        return Expression(text, LEVELS[op], run, sql)

    def against(self, field, value):
        """A constant as a field of this type sees it: FLOAT fields see FLOATs."""
        e = self.constant(value)
        if field.type == "float" and kind(value) == "number" and abs(value) < 3e38:
            rounded = float32(value)
            e.run, e.sql = lambda row: rounded, repr(rounded)
        return e

    def compare_field(self):
        name = self.pick("id", "i8", "i16", "i32", "i64", "f", "d", "s", "t")
        field = self.field(name)
        value = self.dice.choice(WORDS) if field.type == "string" else self.number(name)
        return self.comparison(self.pick("==", "!=", "<", "<=", ">", ">="), field, self.against(field, value))

    def compare_numeric(self):
        left = self.numeric(2, self.chance(0.5))
        if self.chance(0.7):
            right = self.against(left, self.number("i32"))
        else:
            right = self.numeric(1, self.chance(0.5))
        return self.comparison(self.pick("==", "!=", "<", "<=", ">", ">="), left, right)

    def compare_path(self):
        left = self.path()
        if left.type == "json":
            value = self.pick(1, 0, 2.5, -3, True, False, "a", "ab", "", [1, 2], ["a"], [], 2**53, 2**53 + 1, 1.0)
        else:
            value = {"int": lambda: self.dice.randint(-3, 5), "string": lambda: self.dice.choice(WORDS),
                     "bool": lambda: self.chance(0.5), "float": lambda: self.pick(0.1, 0.5, 1, 2)}[left.type]()
        ops = ["==", "!="] if kind(value) in ("bool", "array") else ["==", "!=", "<", "<=", ">", ">="]
        return self.comparison(self.dice.choice(ops), left, self.against(left, value))

    def two_fields(self):
        if self.chance(0.4):
            left, right = self.path(), self.path()
            while right.type != "json" and left.type != "json":
                right = self.path()
            ops = ["==", "!="] if "bool" in (left.type, right.type) else ["==", "!=", "<", "<=", ">", ">="]
            return self.comparison(self.dice.choice(ops), left, right)
        if self.chance(0.3):
            return self.comparison(self.pick("==", "!=", "<", "<=", ">", ">="), self.field("s"), self.field("t"))
        numbers = SMALL_INTS + ["i64", "f", "d"]
        left, right = self.field(self.dice.choice(numbers)), self.field(self.dice.choice(numbers))
        return self.comparison(self.pick("==", "!=", "<", "<=", ">", ">="), left, right)

    def range(self):
        if self.chance(0.2):
            field, make = self.field(self.pick("s", "t")), lambda: self.dice.choice(WORDS)
        elif self.chance(0.3):
            field, make = self.numeric(1), lambda: self.number("i32")
        else:
            name = self.pick("id", "i8", "i16", "i32", "i64", "f", "d")
            field, make = self.field(name), lambda: self.number(name)
        low, high = self.against(field, make()), self.against(field, make())
        one, two = self.pick("<", "<="), self.pick("<", "<=")
        middle = self.wrap(field, 9)
        if self.chance(0.5):
            text = "%s %s %s %s %s" % (self.wrap(low, 9), one, middle, two, self.wrap(high, 9))
        else:
            down = {"<": ">", "<=": ">="}
            text = "%s %s %s %s %s" % (self.wrap(high, 9), down[two], middle, down[one], self.wrap(low, 9))
        run = lambda row, a=low.run, x=field.run, b=high.run: kleene_and(compare(one, a(row), x(row)), compare(two, x(row), b(row)))
        sql = field.sql and "((%s %s %s) AND (%s %s %s))" % (low.sql, one, field.sql, field.sql, two, high.sql)
        return Expression(text, 10, run, sql)

    def listing(self, field, values, text_of_list=None):
        negated = self.chance(0.5)
        seen = [self.against(field, v).run(None) for v in values]
        if self.chance(0.1):
            name = "p%d" % len(self.params)
            self.params[name] = values
            items = "{" + name + "}"
        else:
            items = self.constant_text(values)
        word = self.pick("not in", "NOT IN") if negated else self.pick("in", "IN")

        def run(row, x=field.run):
            if not seen:
                return negated
            value, found = x(row), False
            for v in seen:
                found = kleene_or(found, compare("==", value, v))
            return kleene_not(found) if negated else found

        sql = None
        if field.sql:
            sql = "(%s %s (%s))" % (field.sql, "NOT IN" if negated else "IN", ", ".join(self.against(field, v).sql for v in values))
        return Expression(self.wrap(field, 7) + " " + word + " " + items, 7, run, sql)

    def membership(self):
        name = self.pick("id", "i8", "i16", "i32", "i64", "f", "d", "s", "t")
        field = self.field(name)
        count = self.pick(0, 1, 1, 2, 3, 5, 8, 20)
        make = (lambda: self.dice.choice(WORDS)) if field.type == "string" else (lambda: self.number(name))
        return self.listing(field, [make() for _ in range(count)])

    def path_membership(self):
        field = self.path()
        count = self.pick(0, 1, 2, 3, 6)
        choices = {"int": [0, 1, 2, 3, 5.0, 0.5], "string": WORDS, "bool": [True, False], "float": [0.1, 0.5, 1, 2],
                   "json": [1, 2.5, "a", "ab", True, False, -3, [1, 2], 0, ""]}[field.type]
        return self.listing(field, [self.dice.choice(choices) for _ in range(count)])

    def text(self):
        field = self.field(self.pick("s", "t"))
        if self.chance(0.3):
            field = self.path()
            while field.type not in ("string", "json"):
                field = self.path()
        if self.chance(0.3):
            pattern = self.pick("^a", "b+$", "[ab]c", "é", "^$", "a.c", "(ab)+", "日", "^.{2}$", "\\d|%", "A|B", "(?i)A")
            negated = self.chance(0.4)
            expression = re.compile(pattern)

            def run(row, x=field.run):
                value = x(row)
                if not isinstance(value, str):
                    return None
                return (expression.search(value) is not None) != negated

            text = "r'" + pattern + "'" if "\\" in pattern or self.chance(0.3) else self.string_text(pattern)
            return Expression(field.text + self.pick(" ", "") + ("!~" if negated else "=~") + " " + text, 1, run)
        pieces = ["%", "%", "_", "a", "b", "c", "é", "\\%", "\\_", "ab", "日"]
        pattern = "".join(self.dice.choice(pieces) for _ in range(self.pick(0, 1, 2, 2, 3, 4, 6)))
        negated = self.chance(0.3)
        expression = like(pattern)

        def run(row, x=field.run):
            value = x(row)
            if not isinstance(value, str):
                return None
            return (expression.match(value) is not None) != negated

        text = self.string_text(pattern)
        if "\\" in pattern and self.chance(0.5):
            text = "'" + pattern + "'"  # \% and \_ keep their backslash in strings
        word = self.pick("like", "LIKE")
        if negated:
            word = self.pick("not ", "NOT ") + word
        sql = field.sql and "(%s %s '%s' ESCAPE '\\')" % (field.sql, "NOT LIKE" if negated else "LIKE", pattern)
        return Expression(field.text + " " + word + " " + text, 1, run, sql)

    def null(self):
        if self.chance(0.5):
            name = self.pick("i8", "i32", "i64", "f", "d", "b", "s", "t", "id", "ai", "j")
            text, run = name, lambda row: row.get(name) is None
            if name == "j":  # the whole field: a JSON null is a value
                run = lambda row: "j" not in row
            sql = '("%s" IS NULL)' % name if name not in ("ai", "j") else None
        else:
            e = self.path()
            while e.type != "json" or e.text == "j" or e.text.startswith("array_length"):
                e = self.path()
            text, run, sql = e.text, lambda row, x=e.run: x(row) is None, None
            if self.chance(0.3):
                return Expression(self.pick("exists ", "EXISTS ") + text, 1, lambda row: not run(row))
        if self.chance(0.5):
            return Expression(text + self.pick(" is null", " IS NULL"), 1, run, sql)
        return Expression(text + self.pick(" is not null", " IS NOT NULL"), 1, lambda row: not run(row),
                          sql and "(NOT %s)" % sql)

    def boolean(self):
        form = self.dice.random()
        if form < 0.4:
            return self.field("b")
        if form < 0.5:
            value = self.chance(0.5)
            return Expression(self.constant_text(value), 0, lambda row: value, "1" if value else "0")
        if form < 0.6:
            return Expression("ab[0]", 0, lambda row: row["ab"][0] if row["ab"] else None)
        if form < 0.75:
            e = self.condition(0)
            value, op = self.chance(0.5), self.pick("==", "!=")
            same_side = value == (op == "==")
            return Expression("(%s) %s %s" % (e.text, op, self.constant_text(value)), 11,
                              lambda row, a=e.run: a(row) if same_side else kleene_not(a(row)),
                              e.sql and (e.sql if same_side else "(NOT %s)" % e.sql))
        return self.comparison(self.pick("==", "!="), self.field("b"), self.constant(self.chance(0.5)))

    def contains(self):
        name = self.pick("ai", "as", "ab", "af", "j", "j", "dk")
        if name == "j":
            steps = self.pick(["j", "l"], ["j", "l"], ["j", "a"], ["j"], ["j", "none"])
            text = "j" + "".join("[%s]" % self.string_text(s) for s in steps[1:])
        else:
            steps, text = [name], name
        form = self.pick("", "_all", "_any")
        choices = {"ai": [0, 1, 2, 3, 4.0, 0.5, 70000], "as": WORDS, "ab": [True, False], "af": [0.1, 0.5, 1, 2]}.get(
            name, [1, 2, "a", True, 2.5, [1, 2], 1.0, "", False])
        values = [self.dice.choice(choices) for _ in range(1 if form == "" else self.pick(0, 1, 2, 3))]
        field = Expression(text, 0, None, None, "float" if name == "af" else "json")
        seen = [self.against(field, v).run(None) for v in values]

        def run(row):
            array = walk(row, steps)
            if not isinstance(array, list):
                return None
            found = [any(e is not None and same(e, v) for e in array) for v in seen]
            return all(found) if form == "_all" else any(found)

        function = self.pick("json_contains", "array_contains") + form
        argument = self.constant(values[0] if form == "" else values).text
        return Expression("%s(%s, %s)" % (self.pick(function, function.upper()), text, argument), 0, run)


def walk(row, steps):
    value = row
    for step in steps:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


# ---- tables ----


def make_rows(dice, count):
    def json_value(depth):
        form = dice.random()
        if depth and form < 0.15:
            return [json_value(depth - 1) for _ in range(dice.randint(0, 3))]
        if depth and form < 0.25:
            return {k: json_value(depth - 1) for k in dice.sample(["x", "y", "a"], dice.randint(0, 3))}
        return dice.choice([None, True, False, 0, 1, 1.0, 2, 2.5, -3, "a", "ab", "b", "", 2**53 + 1, float(2**53), "é", 1, "a"])

    rows = []
    for i in range(count):
        row = {
            "id": i,
            "i8": dice.randint(-128, 127) if dice.random() < 0.2 else dice.randint(-20, 20),
            "i16": dice.randint(-300, 300) if dice.random() < 0.2 else dice.randint(-20, 20),
            "i32": i // 10 - 10 if dice.random() < 0.5 else dice.randint(-20, 20),
            "i64": dice.choice(BIG) if dice.random() < 0.5 else dice.randint(-20, 20),
            "f": float32(dice.choice([0.1, 0.25, -1.5, 2.0, 1e10, dice.randint(-80, 80) / 4])),
            "d": dice.choice([0.1, 0.30000000000000004, -1.5, 2.0, float(2**53), 9.3e18, dice.randint(-80, 80) / 4]),
            "b": dice.random() < 0.5,
            "s": dice.choice(WORDS),
            "t": dice.choice(WORDS),
            "ai": [dice.randint(-3, 5) for _ in range(dice.randint(0, 4))],
            "as": [dice.choice(WORDS) for _ in range(dice.randint(0, 4))],
            "ab": [dice.random() < 0.5 for _ in range(dice.randint(0, 3))],
            "af": [float32(dice.choice([0.1, 0.5, 1, 2])) for _ in range(dice.randint(0, 3))],
        }
        for name in ("i8", "i32", "i64", "f", "d", "b", "s", "ai", "as", "af"):
            if dice.random() < 0.12:
                del row[name]
        if dice.random() < 0.85:
            if dice.random() < 0.1:
                row["j"] = json_value(1)
            else:
                row["j"] = {k: json_value(2) for k in ("a", "b") if dice.random() < 0.8}
                if dice.random() < 0.5:
                    row["j"]["o"] = {"x": json_value(1)}
                if dice.random() < 0.6:
                    row["j"]["l"] = [json_value(1) for _ in range(dice.randint(0, 4))]
                if dice.random() < 0.2:
                    row["j"]["日本"] = json_value(0)
        if dice.random() < 0.6:
            row["dk"] = json_value(1)
        if dice.random() < 0.3:
            row["dk2"] = {"x": json_value(0)}
        rows.append(row)
    return rows


def make_indexes(dice):
    """Some of everything; which one a filter then uses is for the planner to say."""
    choices = [[name, kind, {}] for name in ("id", "i8", "i16", "i32", "i64", "b", "s", "t", "ai", "as", "ab")
               for kind in ("INVERTED", "BITMAP", "AUTOINDEX")]
    choices += [[name, kind, {}] for name in ("id", "i8", "i32", "i64", "f", "d", "s") for kind in ("STL_SORT", "AUTOINDEX")]
    choices += [[name, "INVERTED", {}] for name in ("f", "d", "af")]
    choices += [["s", "TRIE", {}], ["t", "TRIE", {}]]
    choices += [[name, "NGRAM", {"min_gram": low, "max_gram": low + more}]
                for name in ("s", "t") for low in (1, 2) for more in (0, 1)]
    for path in ('j["a"]', "j['b']", 'j["o"]["x"]', 'j["l"][0]', 'j["l"][1]', "j", 'j["l"]'):
        for cast in ("bool", "double", "varchar", "array_bool", "array_double", "array_varchar", "JSON"):
            choices.append(["j", "INVERTED", {"json_path": path, "json_cast_type": cast}])
    choices.append(["j", "NGRAM", {"json_path": 'j["a"]', "json_cast_type": "varchar", "min_gram": 1, "max_gram": 2}])
    for path in ("dk", '$meta["dk"]', 'dk2["x"]'):
        choices.append(["$meta", "AUTOINDEX", {"json_path": path}])
    return dice.sample(choices, dice.randint(0, len(choices) // 2))


class Stored:
    """The rows in a collection on disk, as collections come to be: sealed, deleted, replaced, growing."""

    def __init__(self, directory):
        sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "bindings", "python"))
        import vecdb

        self.vecdb, self.directory = vecdb, directory
        self.db = self.collection = None
        self.made = 0

    def fields(self):
        make = self.vecdb.Field
        for field in SCHEMA["fields"]:
            more = {"element_type": field["element"]} if "element" in field else {}
            yield make(field["name"], field["type"], primary_key=field.get("primary", False),
                       nullable=field.get("nullable", False), **more)
        yield make("embedding", "FLOAT_VECTOR", dim=2)

    def load(self, dice, rows, indexes):
        self.close()
        self.made += 1
        self.db = self.vecdb.open(os.path.join(self.directory, "db%d" % self.made), durability="none", threads=1)
        self.collection = self.db.create_collection("t", list(self.fields()), dynamic=True)
        whole = [dict(row, embedding=[1.0, 2.0]) for row in rows]
        first, second = sorted(dice.sample(range(len(rows)), 2))
        late = {i for i in range(second) if dice.random() < 0.1}  # of these another row's values come first
        before = [dict(whole[(i * 7 + 1) % len(rows)], id=i) if i in late else whole[i] for i in range(second)]
        gone = [dict(dice.choice(whole), id=len(rows) + i) for i in range(20)]
        half = dice.random() < 0.5  # indexes before the rows, or after
        if half:
            self.index(indexes)
        for part in (before[:first] + gone[:10], before[first:] + gone[10:]):
            if part:
                self.collection.insert(part)
                self.collection.flush()
        if not half:
            self.index(indexes)
        self.collection.delete(filter="id >= %d" % len(rows))
        again = [whole[i] for i in sorted(late)] + whole[second:]
        if again:
            self.collection.upsert(again)
        if dice.random() < 0.3:
            self.collection.optimize()

    def index(self, indexes):
        for i, (field, kind, params) in enumerate(indexes):
            try:
                self.collection.create_index(field, kind, name="index %d" % i, params=params or None)
            except self.vecdb.ExistsError:  # one index a field, or path
                pass

    def find(self, text, params, count):
        found = ["0"] * count
        for i in self.collection.query(text, ["id"], filter_params=params or None, as_columns=True)["id"]:
            found[i] = "1"
        return "".join(found)

    def close(self):
        if self.db:
            self.collection.close()
            self.db.close()
            shutil.rmtree(os.path.join(self.directory, "db%d" % self.made))
        self.db = None


def load_sqlite(rows):
    names = ["id", "i8", "i16", "i32", "i64", "f", "d", "b", "s", "t"]
    database = sqlite3.connect(":memory:")
    database.execute("PRAGMA case_sensitive_like = ON")
    types = {"f": "REAL", "d": "REAL", "s": "TEXT", "t": "TEXT"}
    database.execute("CREATE TABLE t (%s)" % ", ".join('"%s" %s' % (n, types.get(n, "INTEGER")) for n in names))
    database.executemany("INSERT INTO t VALUES (%s)" % ", ".join("?" * len(names)),
                         [[row.get(n) for n in names] for row in rows])
    return database


class Progress:
    """How far a long run is, told now and then and kept in a file."""

    def __init__(self, options):
        self.options = options
        self.done, self.different = options.first, 0
        self.start = self.told = time.monotonic()
        if options.state and os.path.exists(options.state):
            with open(options.state) as file:
                kept = json.load(file)
            if all(kept.get(name) == getattr(options, name) for name in ("seed", "rows", "first")):
                self.done, self.different = kept["done"], kept["different"]
        self.began = self.done

    def tell(self, done, different):
        """Whether the time is up."""
        now = time.monotonic()
        self.done = done
        if self.options.state and (now - self.told > 15 or done >= self.options.expressions):
            self.told = now
            self.keep(different)
            rate = (done - self.began) / (now - self.start)
            print("%d of %d expressions, %d differences, %.0f a second, %.0f minutes to go" %
                  (done - self.options.first, self.options.expressions - self.options.first, self.different + different, rate,
                   (self.options.expressions - done) / rate / 60 if rate else 0), flush=True)
        if not self.options.seconds or now - self.start < self.options.seconds:
            return False
        self.keep(different)
        return True

    def keep(self, different):
        if not self.options.state:
            return
        with open(self.options.state + ".new", "w") as file:
            json.dump({"seed": self.options.seed, "rows": self.options.rows, "first": self.options.first, "done": self.done,
                       "different": self.different + different}, file)
        os.replace(self.options.state + ".new", self.options.state)


def memory_directory():
    """Where files need no disk: the collection's are made anew for every table."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def share(options):
    """One process for each part of the expressions, each with a state file of its own."""
    each, jobs = -(-options.expressions // options.jobs), []
    for job in range(options.jobs):
        command = [sys.executable, __file__, "--driver", options.driver, "--rows", str(options.rows), "--seed", str(options.seed),
                   "--seconds", str(options.seconds), "--first", str(job * each),
                   "--expressions", str(min((job + 1) * each, options.expressions))]
        if options.library:
            command += ["--library", options.library]
        if options.state:
            command += ["--state", "%s.%d" % (options.state, job)]
        jobs.append(subprocess.Popen(command))
    return 1 if any([job.wait() for job in jobs]) else 0  # of those that crashed it is less than 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--driver", required=True)
    parser.add_argument("--expressions", type=int, default=20000)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--library", help="libvecdb.so: a collection is asked too")
    parser.add_argument("--state", help="a file that remembers how far it is: the next run goes on from there")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long; 0: when all are done")
    parser.add_argument("--first", type=int, default=0, help="leave out so many of the expressions")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the expressions")
    options = parser.parse_args()
    if options.jobs > 1:
        return share(options)
    progress = Progress(options)
    stored = None
    if options.library:
        os.environ["VECDB_LIBRARY"] = os.path.abspath(options.library)
        directory = tempfile.TemporaryDirectory(prefix="vecdb-oracle-", dir=memory_directory())
        stored = Stored(directory.name)
    driver = subprocess.Popen([options.driver], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")

    def ask(message):
        driver.stdin.write(json.dumps(message) + "\n")
        driver.stdin.flush()
        return driver.stdout.readline().rstrip("\n")

    counts = {"sqlite": 0, "python": 0, "collection": 0, "different": 0, "errors": 0}

    def differs(number, name, e, params):
        counts["different"] += 1
        if counts["different"] > 10:
            return False
        print("seed %d, expression %d, judged by %s:\n  %s" % (options.seed, number, name, e.text))
        if params:
            print("  parameters %s" % json.dumps(params))
        return True

    def ask_collection(number, e, params, rows, found):
        counts["collection"] += 1
        try:
            bits = stored.find(e.text, params, len(rows))
        except stored.vecdb.VecdbError as problem:
            bits = "!%s" % problem
        for i, row in enumerate(rows):  # in Python None is no value, and there is no way to say JSON's null
            if found[0] in "01" and "j" in row and row["j"] is None:
                bits = bits[:i] + found[i] + bits[i + 1 :]
        if bits != found and not (bits[0] == found[:1] == "!") and differs(number, "a collection", e, params):
            off = [i for i in range(len(rows)) if found[i : i + 1] != bits[i : i + 1]]
            print("  %s" % bits if bits[0] == "!" else "  rows differ: %s; %s" %
                  (off, json.dumps(stored.collection.explain(filter=e.text, filter_params=params or None))))

    def judge(number, e, params, rows, database):
        expected = {}
        if e.sql:
            bits = ["0"] * len(rows)
            for (i,) in database.execute("SELECT id FROM t WHERE " + e.sql):
                bits[i] = "1"
            expected["sqlite"] = "".join(bits)
        if not e.sql or number % 4 == 0:
            expected["python"] = "".join("1" if e.run(row) is True else "0" for row in rows)
        found = driver.stdout.readline().rstrip("\n")
        if stored:
            ask_collection(number, e, params, rows, found)
        for name, bits in expected.items():
            counts[name] += 1
            if found == bits:
                continue
            counts["errors"] += found[:1] == "!"
            if not differs(number, name, e, params):
                continue
            if found[:1] in "!?":
                print("  " + found)
                continue
            off = [i for i in range(len(rows)) if found[i : i + 1] != bits[i]]
            print("  %d rows differ; row %d should be %s: %s" %
                  (len(off), off[0], bits[off[0]], json.dumps(rows[off[0]], ensure_ascii=False)))

    per_table = 500
    for start in range(progress.done, options.expressions, per_table):
        if progress.tell(start, counts["different"]):
            break
        dice = random.Random(options.seed * 1000003 + start)
        rows = make_rows(dice, options.rows)
        database = load_sqlite(rows)
        block = dice.choice([64, 128, 1024])
        indexes = make_indexes(dice)
        assert ask({"schema": SCHEMA, "rows": rows, "block": block, "indexes": indexes}) == "ok"
        if stored:
            stored.load(random.Random(options.seed * 1000003 + start), rows, indexes)
        batch = []
        for number in range(start, min(start + per_table, options.expressions)):
            maker = Maker(dice)
            e = maker.condition(dice.choice([0, 1, 2, 2, 3]))
            batch.append((number, e, maker.params))
            if len(batch) == 20 or number + 1 == min(start + per_table, options.expressions):
                for _, e, params in batch:  # small enough for the pipe; so both sides work at once
                    driver.stdin.write(json.dumps({"filter": e.text, "params": params or None}) + "\n")
                driver.stdin.flush()
                for number, e, params in batch:
                    judge(number, e, params, rows, database)
                batch = []
    else:
        progress.tell(options.expressions, counts["different"])
    driver.stdin.close()
    code = driver.wait()
    if stored:
        stored.close()
    made = progress.done - progress.began
    print("filter oracle, seed %d: %d expressions x %d rows, %d judged by sqlite3, %d by Python, %d asked of a collection: "
          "%d differences%s" %
          (options.seed, made, options.rows, counts["sqlite"], counts["python"], counts["collection"],
           counts["different"],
           " (%d errors)" % counts["errors"] if counts["errors"] else ""))
    failed = counts["different"] + progress.different + (code != 0)
    if options.state:
        print("%d of %d done%s" % (progress.done - options.first, options.expressions - options.first, "" if progress.done >= options.expressions else
              "; the next run goes on from there"))
    print("%d passed, %d failed" % (made - min(failed, made), failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
