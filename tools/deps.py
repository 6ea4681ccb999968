"""Which source files a stage needs: the import closure of its script, as ``dvc.yaml`` must list it.

    python tools/deps.py           say where dvc.yaml differs from what the scripts import (exit status 1)
    python tools/deps.py --write   rewrite the lists; data dependencies and comments stay

DVC does not follow imports. A file that is missing from a stage's list makes a changed program look up
to date; one too many reruns hours of training for a comment.
"""

import ast
import sys
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
CODE = ("src/", "stages/")


def _module_files(name: str, root: Path) -> list[Path]:
    """The files that importing ``name`` runs: its parents' ``__init__.py`` and itself. Empty when it is not ours."""
    parts = name.split(".")
    base = root / "src" if parts[0] == "retimbre" else root
    if parts[0] not in ("retimbre", "stages"):
        return []
    files = [base.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
    plain = base.joinpath(*parts[:-1], f"{parts[-1]}.py")
    return [file for file in files if file.is_file()] + ([plain] if plain.is_file() else [])


def imported_modules(source: str, package: str = "", in_functions: bool = True) -> set[str]:
    """Names of the modules that a source text imports anywhere in it, in functions too; for ``from a import b``
    both ``a`` and ``a.b`` (b may be a module). Imports for type checkers only do not run and do not count.
    """
    names: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not in_functions:
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            names.update([origin, *(f"{origin}.{alias.name}" for alias in node.names)])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return names


def named_files(source: str, folder: Path) -> list[Path]:
    """Files beside a module that its text names, such as C++ sources that it compiles."""
    words = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return [path for path in folder.iterdir() if path.is_file() and path.suffix != ".py" and path.name in words]


def closure(script: Path, root: Path = ROOT) -> list[str]:
    """The script and every file of ours that it imports, directly or not, relative to ``root``, sorted.

    What a function in a package's ``__init__.py`` imports does not count: those are conveniences for users
    (``retimbre.transfer``), which stages do not call (a test holds that), and would tie every stage to everything.
    """
    waiting, found = [script.resolve()], set()
    if "stages" in script.parts:
        waiting += _module_files("stages", root)
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if file.suffix != ".py":
            continue
        waiting += named_files(file.read_text(encoding="utf-8"), file.parent)
        inside = root / "src" if root / "src" in file.parents else root
        package = ".".join(file.relative_to(inside).parts[:-1])
        for name in imported_modules(file.read_text(encoding="utf-8"), package, in_functions=file.name != "__init__.py"):
            waiting += _module_files(name, root)
    return sorted(str(file.relative_to(root)) for file in found)


def main() -> None:
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    path = ROOT / "dvc.yaml"
    pipeline = yaml.load(path.read_text(encoding="utf-8"))
    differences = []
    for name, stage in pipeline["stages"].items():
        script = ROOT / "stages" / f"{name}.py"
        if not script.is_file():
            differences.append(f"{name}: stages/{name}.py does not exist")
            continue
        listed = [item for item in stage["deps"] if str(item).startswith(CODE)]
        needed = closure(script)
        differences += [f"{name}: {item} is not listed" for item in needed if item not in listed]
        differences += [f"{name}: {item} is listed and not imported" for item in listed if item not in needed]
        if "--write" in sys.argv[1:]:
            data = [item for item in stage["deps"] if not str(item).startswith(CODE)]
            stage["deps"][:] = [*data, *needed]
    for line in differences:
        print(line)
    if "--write" in sys.argv[1:]:
        with path.open("w", encoding="utf-8") as stream:
            yaml.dump(pipeline, stream)
    elif differences:
        sys.exit(1)


if __name__ == "__main__":
    main()
