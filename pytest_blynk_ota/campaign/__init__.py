"""A campaign: random trouble from one seed, run after run, until a budget is spent.

What fails is made smaller until nothing can be left out, and kept with the command that repeats it.
"""
