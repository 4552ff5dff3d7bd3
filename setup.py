"""For tools that look for a setup.py, Beam's --setup_file among them. pyproject.toml says everything."""

import setuptools

setuptools.setup()
