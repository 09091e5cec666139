"""Make an object of a prompt and print where its files are.

python examples/00_hello.py --prompt "a teapot"
"""

import tyro

import dreamfields


def main(prompt: str = "a teapot", preset: str = "draft", steps: int | None = None) -> None:
    """Generate an object with the shortest preset."""
    run = dreamfields.generate(prompt, preset=preset, steps=steps)
    mesh = run.mesh()
    print(f"{len(mesh.faces)} triangles; the files are in {run.path}:")
    for path in sorted(run.path.iterdir()):
        print(f"  {path.name}")


if __name__ == "__main__":
    tyro.cli(main)
