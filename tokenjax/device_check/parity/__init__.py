"""Recorded cases of the original programs, computed again on this device.

recorded     a case's file
held         how far off each array is, and whether that is too far
classifiers  whole models that turn images into logits
modalities   SDTPS and DeMo
routing      attention routing, for which nothing is recorded: PyTorch's program
cases        all of them, most important first
"""
