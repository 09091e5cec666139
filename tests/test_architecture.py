"""The code base keeps its rules, and each rule is proven able to fail."""

import ast
import subprocess
import sys

import pytest

from tests.support import architecture as rules
from tests.support.architecture import RULES, SOURCE, Rule, modules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule: Rule) -> None:
    faults = [fault for module, path in modules() for fault in rule(module, ast.parse(path.read_text("utf-8")))]
    assert not faults, "\n".join(faults)


def test_the_package_is_found() -> None:
    assert {"errors", "scene.fields.voxels", "render.volume"} <= {module for module, _ in modules()}


def test_folders_are_at_most_two_deep() -> None:
    depths = {path: len(path.relative_to(SOURCE).parts) - 1 for _, path in modules()}
    assert not [path for path, depth in depths.items() if depth > rules.MAX_DEPTH]


def test_the_root_of_the_package_is_seen_at_a_glance() -> None:
    at_root = {path.stem for path in SOURCE.glob("*.py") if not path.stem.startswith("__")}
    assert len(at_root) <= rules.MAX_ROOT_MODULES, sorted(at_root)


def test_no_module_imports_one_that_imports_it() -> None:
    assert rules.cycles(rules.imports_of_modules()) == set()


def test_a_circle_of_imports_is_found() -> None:
    assert rules.cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) == {"a", "b", "c"}
    assert rules.cycles({"a": {"b", "a"}, "b": {"c", "other"}, "c": set()}) == set()
    # Of this code, with an arrow turned round.
    imports = rules.imports_of_modules()
    assert "scene.rays" in imports["scene.cameras"]
    assert {"scene.rays", "scene.cameras"} <= rules.cycles(imports | {"scene.rays": {"scene.cameras"}})


def test_parts_import_from_above_only() -> None:
    opened = {part: {entry.split(".")[0] for entry in allowed} for part, allowed in rules.MAY_IMPORT.items()}
    above: set[str] = {"__version__"}
    for part, allowed in opened.items():
        assert allowed <= above, f"{part} may import {allowed - above}, which stand below it"
        above.add(part)


def test_settings_and_command_line_load_without_anything_heavy() -> None:
    light = [f"dreamfields.{module}" for module, _ in modules() if rules.is_light(module)]
    code = f"import sys, {', '.join(light)}; print(*({rules.HEAVY_PACKAGES!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == []


LONG_BODY = "\n".join(["    x = 1"] * 60)

BREACHES: list[tuple[Rule, str, str]] = [
    (rules.imports_go_one_way, "scene.rays", "from dreamfields.render import volume"),
    (rules.imports_go_one_way, "scene.rays", "from dreamfields.guidance.base import Guidance"),
    (rules.imports_go_one_way, "render.volume", "import dreamfields.optimize.loop"),
    (rules.imports_go_one_way, "guidance.lit", "from dreamfields.scene.rays import Rays"),
    (rules.imports_go_one_way, "guidance.lit", "def later():\n    import dreamfields.render.volume"),
    (rules.imports_go_one_way, "optimize.loop", "from dreamfields.export import mesh"),
    (rules.imports_go_one_way, "optimize.loop", "from dreamfields import api"),
    (rules.imports_go_one_way, "optimize.loop", "importlib.import_module('dreamfields.cli.main')"),
    (rules.imports_go_one_way, "config", "from dreamfields.scene.cameras import Camera"),
    (rules.imports_go_one_way, "cli.main", "from dreamfields.helpers import misc"),
    (rules.imports_go_one_way, "api", "from dreamfields.cli import main"),
    (rules.imports_go_one_way, "errors", "from dreamfields.settings import Range"),
    (rules.imports_go_one_way, "scene.rays", "from . import cameras"),
    (rules.imports_go_one_way, "helpers.misc", "import math"),
    (rules.imports_are_declared, "scene.rays", "import pandas"),
    (rules.imports_are_declared, "scene.rays", "def later():\n    from torchvision.ops import nms"),
    (rules.functions_are_short, "cli", f"def main():\n{LONG_BODY}"),
    (rules.functions_are_short, "cli", f"class A:\n    async def b(self):\n{LONG_BODY.replace('    x', '        x')}"),
    (rules.functions_take_few_arguments, "cli", "def f(a, b, /, c, d, *, e, f, g, h, i): ..."),
    (rules.functions_take_few_arguments, "cli", "def f(self, a, b, c, d, e, f, g, *h, **i): ..."),
    (rules.functions_take_few_arguments, "api", "def f(a, b, c, d, e, f, g, h, i): ..."),
    (rules.files_are_short, "cli", "\n" * 400 + "x = 1"),
    (rules.names_are_imported_one_by_one, "cli", "from math import *"),
    (rules.nothing_dangerous_is_called, "cli", "print('done')"),
    (rules.nothing_dangerous_is_called, "cli", "eval('1')"),
    (rules.nothing_dangerous_is_called, "cli", "exec('1')"),
    (rules.nothing_dangerous_is_called, "cli", "import pickle"),
    (rules.nothing_dangerous_is_called, "cli", "from torchvision import transforms"),
    (rules.nothing_dangerous_is_called, "cli", "import subprocess\nsubprocess.run('ls', shell=True)"),
    (rules.nothing_dangerous_is_called, "cli", "from os import system as call\ncall('ls')"),
    (rules.nothing_dangerous_is_called, "cli", "import yaml\nyaml.load(text)"),
    (rules.nothing_dangerous_is_called, "cli", "AutoModel.from_pretrained(name, trust_remote_code=True)"),
    (rules.nothing_dangerous_is_called, "cli", "AutoModel.from_pretrained(name, trust_remote_code=flag)"),
    (rules.nothing_dangerous_is_called, "cli", "import numpy as np\nnp.load(path, allow_pickle=True)"),
    (rules.nothing_dangerous_is_called, "optimize.run", "import torch\ntorch.load(path, weights_only=True)"),
    (rules.nothing_dangerous_is_called, "optimize.run", "from torch import load\nload(path)"),
    (rules.nothing_dangerous_is_called, "guidance.lit.towers", "import torch\ntorch.load(path)"),
    (rules.nothing_dangerous_is_called, "guidance.lit.towers", "import torch\ntorch.load(path, weights_only=False)"),
    (rules.nothing_dangerous_is_called, "guidance.lit.towers", "import torch\ntorch.hub.load('a', 'b')"),
    (rules.files_are_written_by_storage, "export.glb", "open(path, 'wb')"),
    (rules.files_are_written_by_storage, "export.glb", "open(path, mode='a')"),
    (rules.files_are_written_by_storage, "export.glb", "open(path, mode)"),
    (rules.files_are_written_by_storage, "export.glb", "path.open('r+')"),
    (rules.files_are_written_by_storage, "export.glb", "path.write_bytes(b'')"),
    (rules.files_are_written_by_storage, "export.glb", "(folder / 'a').write_text('')"),
    (rules.files_are_written_by_storage, "export.glb", "import os\nos.open(path, os.O_WRONLY)"),
    (rules.files_are_written_by_storage, "export.glb", "import numpy as np\nnp.save(path, array)"),
    (rules.files_are_written_by_storage, "export.glb", "from safetensors.torch import save_file\nsave_file({}, path)"),
    (rules.files_are_written_by_storage, "optimize.run_directory", "path.write_text('')"),
    (rules.light_modules_load_nothing_heavy, "cli", "import torch"),
    (rules.light_modules_load_nothing_heavy, "scene.settings", "from torch import Tensor"),
    (rules.light_modules_load_nothing_heavy, "config", "try:\n    import numpy as np\nexcept ImportError:\n    pass"),
]


@pytest.mark.parametrize(("rule", "module", "code"), BREACHES)
def test_a_breach_is_found(rule: Rule, module: str, code: str) -> None:
    assert list(rule(module, ast.parse(code)))


ALLOWED: list[tuple[Rule, str, str]] = [
    (rules.imports_go_one_way, "render.renderer", "from dreamfields.scene.rays import Rays"),
    (rules.imports_go_one_way, "render.renderer", "from dreamfields.render import volume"),
    (rules.imports_go_one_way, "config", "from dreamfields.scene.settings import CameraSettings"),
    (rules.imports_go_one_way, "cli.main", "from dreamfields import api, config"),
    (rules.imports_are_declared, "scene.rays", "import math, torch, PIL.Image, skimage.measure, trimesh"),
    (rules.functions_are_short, "cli", "def f():\n    '''" + "\n" * 80 + "'''\n    return 1"),
    (rules.functions_take_few_arguments, "cli", "def f(self, a, b, c, d, e, f, g, h): ..."),
    (rules.functions_take_few_arguments, "api", "def f(a, *, b, c, d, e, f, g, h, i, j): ..."),
    (rules.files_are_short, "cli", "\n" * 399 + "x = 1"),
    (rules.nothing_dangerous_is_called, "cli", "console.print('done')\nyaml.safe_load('')\nre.compile('eval')"),
    (rules.nothing_dangerous_is_called, "guidance.lit.towers", "import torch\ntorch.load(path, weights_only=True)"),
    (rules.nothing_dangerous_is_called, "cli", "subprocess.run(['ls'], shell=False)"),
    (rules.files_are_written_by_storage, "export.glb", "from PIL import Image\nImage.open(path)"),
    (rules.files_are_written_by_storage, "export.glb", "open(path)\nopen(path, 'rb')\npath.open()\npath.open('rb')"),
    (rules.files_are_written_by_storage, "storage", "import os\nos.replace(a, b)"),
    (rules.files_are_written_by_storage, "export.npz", "import numpy as np\nfile = io.BytesIO()\nnp.savez(file, a=a)"),
    (rules.files_are_written_by_storage, "runs.lock", "import os\nos.open(path, os.O_RDWR)"),
    (rules.light_modules_load_nothing_heavy, "cli", "def main():\n    import torch"),
    (rules.light_modules_load_nothing_heavy, "cli", "if TYPE_CHECKING:\n    import torch"),
    (rules.light_modules_load_nothing_heavy, "render.volume", "import torch"),
]


@pytest.mark.parametrize(("rule", "module", "code"), ALLOWED)
def test_what_is_allowed_passes(rule: Rule, module: str, code: str) -> None:
    assert not list(rule(module, ast.parse(code)))
