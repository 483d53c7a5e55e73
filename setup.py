"""What pyproject.toml cannot say: `configs/` is installed as `tokenjax.configs`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tokenjax", "tokenjax.*"]), "tokenjax.configs"],
    package_dir={"tokenjax.configs": "configs"},
)
