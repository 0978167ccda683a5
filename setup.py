"""Find the packages of the three top-level folders by looking, so that no list kept by hand can fall behind."""

from pathlib import Path

from setuptools import setup

FOLDERS = {"saelab": "saelab", "saelab.kernels": "kernels", "saelab.app": "app"}
HERE = Path(__file__).parent


def packages(name: str, folder: str) -> dict[str, str]:
    """{package: folder} for `folder` and every folder below it that holds Python files."""
    found = {name: folder}
    for file in sorted((HERE / folder).rglob("*.py")):
        inner = file.parent.relative_to(HERE / folder)
        found[".".join([name, *inner.parts])] = str(Path(folder) / inner)
    return found


package_dir = {package: path for name, folder in FOLDERS.items() for package, path in packages(name, folder).items()}
DATA = ("pico", "probing", "ravel")  # what the package reads of data/
package_dir |= {f"saelab.data.{name}": f"data/{name}" for name in DATA}

setup(
    packages=sorted(package_dir),
    package_dir=package_dir,
    package_data={
        **{f"saelab.data.{name}": ["*"] for name in DATA},
        "saelab.app": ["**/*.css", "**/*.js", "**/*.toml"],
    },
)
