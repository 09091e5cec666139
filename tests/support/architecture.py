"""The rules of the code base as functions of a parsed module; `test_architecture.py` applies and proves them.

A rule takes the module's dotted name within the package ("render.volume", "" for the package itself) and its syntax
tree, and yields one sentence for each breach.
"""

import ast
import functools
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ROOT / "src" / "dreamfields"

Rule = Callable[[str, ast.Module], Iterator[str]]

# Who may import whom: a part may import from itself and from what its row names, which stands above it. A dotted entry
# opens one module of a part only.
BASE = {"errors", "settings", "storage", "devices", "reprs"}
PIPELINE = BASE | {"cpu", "scene", "render", "guidance", "optimize"}
EVERY_SETTING = {f"{part}.settings" for part in ("scene", "render", "guidance", "optimize", "export")}
RUNS = PIPELINE | {"export", "config", "paper", "evaluate", "prior", "__version__"}
AROUND = RUNS | {"presets", "runs"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "settings": {"errors"},
    "storage": {"errors"},
    "devices": {"errors"},
    "reprs": set(),
    "cpu": {"errors", "storage"},
    "scene": BASE,
    "render": BASE | {"cpu", "scene"},
    "guidance": BASE | {"cpu"},
    "optimize": BASE | {"scene", "render", "guidance"},
    "prior": BASE | {"scene", "guidance"},
    "export": BASE | {"cpu", "scene", "render"},
    "config": {"errors", "settings", "devices", "guidance.prompts"} | EVERY_SETTING,
    "paper": {"errors", "settings"} | EVERY_SETTING,
    "presets": {"errors", "settings", "config", "paper"} | EVERY_SETTING,
    "evaluate": PIPELINE | {"config", "paper"},
    "runs": RUNS,
    "api": AROUND,
    "train": PIPELINE | {"export", "prior"},
    "studio": AROUND,
    "cli": AROUND | {"api", "train", "studio"},
    "__main__": {"cli"},
    "": AROUND | {"api"},
}

# Packages that may be missing: one of an extra, and one that has no wheel everywhere. Who imports one says what then.
EXTRAS = {"export.formats.usdz": {"pxr"}, "export.mesh.unwrap_program": {"xatlas"}}

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
MAX_ARGUMENTS = 8
# The Python API takes by keyword what the command line takes as flags.
KEYWORDS_UNCOUNTED = {"api"}
MAX_DEPTH = 2
MAX_ROOT_MODULES = 9

# Loaded before anything heavy: prompts and settings are judged within a second.
LIGHT_MODULES = {
    "errors",
    "scene.fields",
    "export.endings",
    "export.formats.companions",
    "export.formats.packages",
    "export.formats.table",
    "export.pictures.table",
    "config",
    "paper",
    "presets",
    "runs.checks",
    "prior.load",
    "runs.metrics",
    "runs.record",
    "runs.record_file",
    "runs.upgrade",
    "runs.lock",
    "runs.directory",
    "cli",
}
HEAVY_PACKAGES = {"torch", "transformers", "numpy", "PIL", "scipy", "skimage", "trimesh", "safetensors"}

FORBIDDEN_PACKAGES = {
    "torchvision": "an ABI mismatch with torch takes transformers down with it",
    **dict.fromkeys(("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"), "loading such a file runs code"),
}
FORBIDDEN_CALLS = {
    "print": "the command line owns the terminal",
    "eval": "runs code from data",
    "exec": "runs code from data",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "yaml.load": "can run code; use yaml.safe_load",
    "torch.hub.load": "fetches and runs code",
    "torch.hub.load_state_dict_from_url": "fetches and unpickles",
}
# The weights of the towers come from packages as .pth files; their digest is checked first.
MAY_TORCH_LOAD = {"guidance.lit.towers"}

WRITING_CALLS = {
    *(f"os.{name}" for name in ("open", "fdopen", "write", "pwrite", "truncate", "ftruncate")),
    *(f"os.{name}" for name in ("replace", "rename", "link", "symlink")),
    *(f"shutil.{name}" for name in ("copy", "copy2", "copyfile", "copytree", "move")),
    *(f"numpy.{name}" for name in ("save", "savez", "savez_compressed", "savetxt")),
    *("torch.save", "safetensors.torch.save_file", "safetensors.numpy.save_file"),
}
WRITING_METHODS = {"write_text", "write_bytes", "touch", "hardlink_to", "symlink_to"}
# Their first argument is what to open, not how.
READING_OPENS = {"PIL.Image.open", "webbrowser.open", "dreamfields.runs.run.Run.open"}
# Video encoders write to a path of their own, in a temporary directory.
MAY_WRITE = {"storage", "export.pictures.video"}
# A lock is a descriptor held open, with the holder's number in it.
MAY_LOCK = {"runs.lock"}
LOCKING_CALLS = {"os.open", "os.pwrite", "os.ftruncate"}


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of each module of the package."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_go_one_way(module: str, tree: ast.Module) -> Iterator[str]:
    """Each part imports only what the table allows it."""
    part = _part(module)
    if part not in MAY_IMPORT:
        yield f"{part} is not in the table of who may import whom"
        return
    for target in _imported(tree):
        if target.startswith("."):
            yield f"{module} imports {target}: spell imports in full"
        elif target.startswith("dreamfields."):
            name = target.removeprefix("dreamfields.")
            allowed = MAY_IMPORT[part]
            is_own = bool(part) and _part(name) == part
            if not is_own and not any(name == entry or name.startswith(f"{entry}.") for entry in allowed):
                yield f"{module or 'the package'} may not import {name}"


def imports_are_declared(module: str, tree: ast.Module) -> Iterator[str]:
    """Each import is of the standard library, of this package or of a dependency in pyproject.toml."""
    declared = _declared_packages()
    for target in _imported(tree):
        package = target.split(".")[0]
        optional = module in EXTRAS and package in EXTRAS[module]
        if package and package != "dreamfields" and package not in sys.stdlib_module_names | declared and not optional:
            yield f"{module} imports {package}, which no dependency in pyproject.toml provides"


def cycles(imports: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that import each other in a circle, or lead to such a circle only, given who imports whom."""
    left = {module: targets & imports.keys() - {module} for module, targets in imports.items()}
    while free := {module for module, targets in left.items() if not targets}:
        left = {module: targets - free for module, targets in left.items() if module not in free}
    return set(left)


def imports_of_modules() -> dict[str, set[str]]:
    """Return for each module of the package the others it imports when it runs, wherever in its code it does."""
    trees = {module: ast.parse(path.read_text("utf-8")) for module, path in modules()}
    del trees[""]  # The package itself loads public names only when they are asked for.
    found = {}
    for module, tree in trees.items():
        names = _imported(tree, at_run_time=True)
        targets = {name.removeprefix("dreamfields.") for name in names if name.startswith("dreamfields.")}
        # A name is imported from a module, or is a module of a package.
        found[module] = {name if name in trees else name.rpartition(".")[0] for name in targets} & trees.keys()
    return found


def functions_are_short(module: str, tree: ast.Module) -> Iterator[str]:
    """No function is longer than one screen, its docstring aside."""
    for function in _functions(tree):
        first = function.body[0]
        docstring = 0
        if ast.get_docstring(function) is not None:
            docstring = (first.end_lineno or first.lineno) - first.lineno + 1
        lines = (function.end_lineno or function.lineno) - function.lineno + 1 - docstring
        if lines > MAX_FUNCTION_LINES:
            yield f"{module}.{function.name} has {lines} lines; the most is {MAX_FUNCTION_LINES}"


def functions_take_few_arguments(module: str, tree: ast.Module) -> Iterator[str]:
    """No function takes more arguments than a reader can hold; `self`, `cls` and the API's keywords do not count."""
    for function in _functions(tree):
        given = function.args
        keywords = [] if module in KEYWORDS_UNCOUNTED else given.kwonlyargs
        names = [argument.arg for argument in (*given.posonlyargs, *given.args, *keywords)]
        names += [argument.arg for argument in (given.vararg, given.kwarg) if argument]
        count = len([name for name in names if name not in ("self", "cls")])
        if count > MAX_ARGUMENTS:
            yield f"{module}.{function.name} takes {count} arguments; the most is {MAX_ARGUMENTS}"


def files_are_short(module: str, tree: ast.Module) -> Iterator[str]:
    """No file is too long to be read in one sitting."""
    last = max((node.end_lineno or 0 for node in ast.walk(tree) if isinstance(node, ast.stmt)), default=0)
    if last > MAX_FILE_LINES:
        yield f"{module} has {last} lines; the most is {MAX_FILE_LINES}"


def names_are_imported_one_by_one(module: str, tree: ast.Module) -> Iterator[str]:
    """No star imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            yield f"{module} imports everything from {node.module}"


def nothing_dangerous_is_called(module: str, tree: ast.Module) -> Iterator[str]:
    """Nothing that runs code from data, opens a shell, unpickles or prints."""
    for target in _imported(tree):
        package = target.split(".")[0]
        if package in FORBIDDEN_PACKAGES:
            yield f"{module} imports {package}: {FORBIDDEN_PACKAGES[package]}"
    for call, name in _calls(tree):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        if name in FORBIDDEN_CALLS:
            yield f"{module} calls {name}: {FORBIDDEN_CALLS[name]}"
        for keyword in ("shell", "trust_remote_code", "allow_pickle"):
            if keyword in keywords and not _is_literally(keywords[keyword], False):
                yield f"{module} calls {name} with {keyword}"
        if name == "torch.load" and module not in MAY_TORCH_LOAD:
            yield f"{module} calls torch.load; only {', '.join(MAY_TORCH_LOAD)} may"
        elif name == "torch.load" and not _is_literally(keywords.get("weights_only"), True):
            yield f"{module} calls torch.load without weights_only=True"


def files_are_written_by_storage(module: str, tree: ast.Module) -> Iterator[str]:
    """All writing goes through `storage`, whole or not at all."""
    if module in MAY_WRITE:
        return
    memory = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value) == "io.BytesIO()"
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call, name in _calls(tree):
        if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in memory:
            continue
        method = name.rsplit(".", 1)[-1]
        opens = method == "open" and name not in READING_OPENS and _opens_for_writing(call, is_method="." in name)
        if module in MAY_LOCK and name in LOCKING_CALLS:
            continue
        if name in WRITING_CALLS or method in WRITING_METHODS or opens:
            yield f"{module} writes a file itself with {name}; use storage.atomic_write"


def is_light(module: str) -> bool:
    """Tell whether a module must load without anything heavy: settings, the command line, and what checks a command."""
    names = module.split(".")
    return names[-1] == "settings" or bool({module, names[0]} & LIGHT_MODULES)


def light_modules_load_nothing_heavy(module: str, tree: ast.Module) -> Iterator[str]:
    """Settings, errors and the command line import nothing heavy when they load."""
    if is_light(module):
        for target in _imported(tree, at_load_only=True):
            if target.split(".")[0] in HEAVY_PACKAGES:
                yield f"{module} imports {target} when it loads"


RULES: tuple[Rule, ...] = (
    imports_go_one_way,
    imports_are_declared,
    functions_are_short,
    functions_take_few_arguments,
    files_are_short,
    names_are_imported_one_by_one,
    nothing_dangerous_is_called,
    files_are_written_by_storage,
    light_modules_load_nothing_heavy,
)


def _part(module: str) -> str:
    """Return the row of the table that a module belongs to."""
    return module.split(".")[0]


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _imported(tree: ast.AST, *, at_load_only: bool = False, at_run_time: bool = False) -> Iterator[str]:
    """Yield the full dotted names that a module imports; relative imports keep their leading dots."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _dotted(node.func).endswith("import_module") and node.args:
            if isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value)
        elif (at_load_only and _runs_later(node)) or (at_run_time and _is_for_types(node)):
            continue
        else:
            yield from _imported(node, at_load_only=at_load_only, at_run_time=at_run_time)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _dotted(node.test).endswith("TYPE_CHECKING")


def _runs_later(node: ast.AST) -> bool:
    """Tell whether a node's body does not run when its module loads."""
    return _is_for_types(node) or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))


def _calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call with the dotted name of what is called, import aliases resolved."""
    origins: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            origins |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            origins |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            first, *rest = _dotted(node.func).split(".")
            yield node, ".".join([origins.get(first, first), *rest])


def _dotted(node: ast.expr) -> str:
    """Return "a.b.c" of names and attributes; anything else, such as a call's result, becomes "?"."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return "?"


def _opens_for_writing(call: ast.Call, *, is_method: bool) -> bool:
    """Tell whether the mode of an `open` is anything but literally one of reading."""
    position = 0 if is_method else 1
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    modes += call.args[position : position + 1]
    return any(not isinstance(mode, ast.Constant) or set("wax+") & set(str(mode.value)) for mode in modes)


def _is_literally(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@functools.cache
def _declared_packages() -> set[str]:
    """Return the import names that the dependencies in pyproject.toml provide."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {_normal(requirement) for requirement in project["dependencies"]}
    return {
        package
        for package, distributions in packages_distributions().items()
        if named & {_normal(distribution) for distribution in distributions}
    }


def _normal(requirement: str) -> str:
    """Return a requirement's or distribution's name alone, in the spelling of PEP 503."""
    name = requirement.split(";")[0]
    for separator in "<>=!~[ ":
        name = name.split(separator)[0]
    return name.strip().lower().replace("_", "-").replace(".", "-")
