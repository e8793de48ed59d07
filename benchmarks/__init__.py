"""Comparisons with published results and between models; each module is a command."""

from importlib import import_module

import_module("stages")  # before torch is loaded: its threads wait for each other as they do in the stages
