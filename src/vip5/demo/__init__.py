"""A small made-up shop as plain files, so that the product has something of its own to run on."""

from vip5.demo.tables import write_demo

__all__ = ["write_demo"]
