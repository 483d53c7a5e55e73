"""The kinds of steps: each module has `find(task, findings)`.

It raises `findings.Skipped` where it cannot be done, and says with `findings.fail` what
is wrong; whatever else it raises is a failure too.
"""
