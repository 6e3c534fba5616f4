"""Lets the tests import the benchmark's modules, which are a program's and no package."""
