"""docs/python-api.md out of the package's docstrings.

    api_reference.py [--check] [--missing]

Reads the sources without importing them, so it needs neither numpy nor the frameworks. --check says whether the page is up
to date, --missing lists public names without a docstring.
"""

import argparse
import ast
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "vecdb"
PAGE = HERE.parent.parent / "docs" / "python-api.md"
#: Modules in the order of the page. What a module says in __all__ is public, wherever it is defined.
MODULES = ("vecdb", "vecdb.aio", "vecdb.milvus", "vecdb.langchain", "vecdb.llamaindex", "vecdb.haystack")
#: Methods of a class that are worth a line although their names begin with an underscore.
SPECIAL = ("__len__", "__iter__", "__getitem__", "__enter__")
WIDTH = 110


def path_of(module):
    below = PACKAGE.joinpath(*module.split(".")[1:])
    return below / "__init__.py" if below.is_dir() else below.with_suffix(".py")


class Module:
    """A source file: what it defines, what it imports from its siblings, what it shows."""

    def __init__(self, name):
        self.name = name
        self.tree = ast.parse(path_of(name).read_text(encoding="utf-8"))
        self.defined = {}
        self.imported = {}
        self.public = None
        is_package = path_of(name).name == "__init__.py"
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = name.split(".")
                base = base[: len(base) - node.level + is_package]
                for alias in node.names:
                    self.imported[alias.asname or alias.name] = (".".join(base + ([node.module] if node.module else [])), alias.name)
        for node in self.tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                self.defined[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                self.defined.setdefault(node.targets[0].id, node)
                if node.targets[0].id == "__all__":
                    self.public = self._names(node.value)
        if self.public is None:
            self.public = [each for each in self.defined if not each.startswith("_") and not isinstance(self.defined[each], ast.Assign)]

    @staticmethod
    def _names(value):
        return [each.value for each in value.elts] if isinstance(value, (ast.List, ast.Tuple)) else None


_modules = {}


def module(name):
    if name not in _modules:
        _modules[name] = Module(name)
    return _modules[name]


def find(name, wanted, depth=0):
    """The definition of a name as a module shows it: (module, node), or None for submodules and outside names."""
    here = module(name)
    if wanted in here.defined:
        return here, here.defined[wanted]
    if wanted in here.imported and depth < 8:
        source, original = here.imported[wanted]
        if path_of(source).exists() and not path_of(f"{source}.{original}").exists():
            return find(source, original, depth + 1)
    return None


def signature(node, owner=None):
    """def f(...) -> ..., wrapped."""
    arguments = node.args
    drop = owner is not None and not any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    kept = ast.arguments(
        posonlyargs=list(arguments.posonlyargs), args=list(arguments.args), vararg=arguments.vararg,
        kwonlyargs=arguments.kwonlyargs, kw_defaults=arguments.kw_defaults, kwarg=arguments.kwarg, defaults=arguments.defaults,
    )  # fmt: skip
    if drop and kept.posonlyargs:
        kept.posonlyargs.pop(0)
    elif drop and kept.args:
        kept.args.pop(0)
    name = f"{owner}.{node.name}" if owner else node.name
    if node.name == "__init__" and owner:
        name = owner
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    prefix = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    text = f"{prefix}{name}({ast.unparse(kept)}){result}".replace('"', "'")
    if len(text) <= WIDTH:
        return text
    inside = textwrap.wrap(ast.unparse(kept).replace('"', "'"), WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return f"{prefix}{name}(\n" + "\n".join("    " + line for line in inside) + f"\n){result}".replace('"', "'")


def documented(node):
    return ast.get_docstring(node) or ""


def is_property(node):
    return any(isinstance(d, ast.Name) and d.id == "property" or ast.unparse(d).endswith("cached_property") for d in node.decorator_list)


def is_overload(node):
    return any(ast.unparse(d).split(".")[-1] in ("overload", "setter") or ast.unparse(d).endswith(".setter") for d in node.decorator_list)


def members(where, node, seen=None):
    """Public methods and properties of a class, those of its bases in this package too."""
    seen = {} if seen is None else seen
    for each in node.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and not is_overload(each):
            if not each.name.startswith("_") or each.name in SPECIAL:
                seen.setdefault(each.name, each)
    for base in node.bases:
        if isinstance(base, ast.Name):
            found = find(where.name, base.id)
            if found and isinstance(found[1], ast.ClassDef):
                members(*found, seen)
    return seen


def inherited_text(where, node, name):
    """A method's docstring, or its base's."""
    for each in node.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)) and each.name == name and documented(each):
            return documented(each)
    for base in node.bases:
        found = find(where.name, base.id) if isinstance(base, ast.Name) else None
        if found and isinstance(found[1], ast.ClassDef):
            text = inherited_text(*found, name)
            if text:
                return text
    return ""


def blocks(text):
    """Paragraphs; indented ones that follow each other are one."""
    found = []
    for block in text.split("\n\n"):
        if found and block.startswith("    ") and found[-1].startswith("    "):
            found[-1] += "\n\n" + block
        else:
            found.append(block)
    return found


def prose(text):
    """A docstring as Markdown: indented blocks and tables of names keep their form."""
    out = []
    for block in blocks(text):
        lines = block.split("\n")
        if lines[0].startswith("    "):
            out.append("```python\n" + textwrap.dedent(block) + "\n```")
        elif any("  " in line.strip() for line in lines) or any(line.startswith("    ") for line in lines):
            out.append("```text\n" + block + "\n```")
        else:
            out.append(block)
    return "\n\n".join(out)


def class_lines(where, node, missing, label):
    lines = [f"### class {node.name}", ""]
    bases = [ast.unparse(base) for base in node.bases if ast.unparse(base) != "Unique"]  # which only refuses copies
    if bases and bases != ["object"]:
        lines += [f"A {', '.join(f'`{base}`' for base in bases)}.", ""]
    if documented(node):
        lines += [prose(documented(node)), ""]
    else:
        missing.append(f"{label}.{node.name}")
    maker = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if maker is not None and (len(maker.args.args) > 1 or maker.args.kwonlyargs):
        lines += ["```python", signature(maker, node.name), "```", ""]
    members_enum = [each for each in node.body if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)]
    if any("Enum" in base for base in bases):
        names = [f"`{each.targets[0].id}` {ast.unparse(each.value)}" for each in members_enum if not each.targets[0].id.startswith("_")]
        lines += [", ".join(names) + ".", ""] if names else []
    for name, each in members(where, node).items():
        text = documented(each) or inherited_text(where, node, name)
        if not text and name not in SPECIAL:
            missing.append(f"{label}.{node.name}.{name}")
        if not text and name in SPECIAL:
            continue
        if is_property(each):
            result = f": {ast.unparse(each.returns)}" if each.returns is not None else ""
            lines += [f"- **{name}**{result.replace(chr(34), '')}" + (f" - {' '.join(text.split())}" if text else ""), ""]
        else:
            lines += ["```python", signature(each, node.name), "```", ""]
            lines += [prose(text), ""] if text else []
    return lines


def assigned_text(where, name):
    """The comment of the form "#: ..." above an assignment."""
    source = path_of(where.name).read_text(encoding="utf-8").split("\n")
    line = where.defined[name].lineno - 2
    found = []
    while line >= 0 and source[line].startswith("#: "):
        found.insert(0, source[line][3:])
        line -= 1
    return " ".join(found)


def page():
    """The page's text, and the public names that lack a docstring."""
    missing = []
    lines = [
        "# Python API",
        "",
        "Made from the package's docstrings by `make docs-python`; the [guide](python.md) tells how it is used.",
        "",
    ]
    for name in MODULES:
        where = module(name)
        lines += [f"## {name}", ""]
        text = (ast.get_docstring(where.tree, clean=False) or "").strip()  # as it stands: it begins at the margin
        if text:
            lines += [prose(text), ""]
        else:
            missing.append(name)
        functions, classes, values = [], [], []
        same = []
        for each in where.public:
            if each.startswith("__"):
                continue
            found = find(name, each)
            if found is None:
                continue
            if isinstance(found[1], ast.ClassDef):
                classes.append((each, *found))
            elif isinstance(found[1], ast.Assign):
                values.append((each, *found))
            else:
                functions.append((each, *found))
        for each, place, node in functions:
            lines += ["```python", signature(node), "```", ""]
            if documented(node):
                lines += [prose(documented(node)), ""]
            else:
                missing.append(f"{name}.{each}")
        for each, place, node in values:
            text = assigned_text(place, node.targets[0].id) if node.targets[0].id in place.defined else ""
            lines += [f"- **{each}**" + (f" - {text}" if text else f" = `{ast.unparse(node.value)[:80]}`"), ""]
        for each, place, node in classes:
            if not node.body or (len(members(place, node)) == 0 and len(documented(node)) < 200 and node.bases and not any("Enum" in ast.unparse(b) for b in node.bases)):
                maker = any(isinstance(n, ast.FunctionDef) and n.name == "__init__" for n in node.body)
                if not maker:
                    if not documented(node):
                        missing.append(f"{name}.{each}")
                    same.append(f"- **{each}**({', '.join(ast.unparse(b) for b in node.bases)}) - {' '.join(documented(node).split())}")
                    continue
            lines += class_lines(place, node, missing, name)
        if same:
            lines += ["### Exceptions and small classes", "", *same, ""]
    return "\n".join(lines).rstrip() + "\n", missing


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--missing", action="store_true")
    options = parser.parse_args()
    text, missing = page()
    if options.missing:
        print("\n".join(missing))
        return 1 if missing else 0
    if options.check:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/python-api.md is not what the docstrings say: make docs-python", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
