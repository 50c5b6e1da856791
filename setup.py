"""The build script that setuptools asks for; everything it needs stands in setup.cfg."""

from setuptools import setup

setup()
