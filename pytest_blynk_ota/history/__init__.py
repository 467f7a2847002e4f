"""What all runs came to: JSON lines are the truth, an SQLite file is an index that is made of them.

=========  ==========================================================================
line       one line of the truth: of a run, or of a test in it
book       the folder that holds the lines, a file for each run
take       from the folders of runs, or the files of other runners, into the book
index      the SQLite file; made anew when it is missing, of another version or damaged
queries    trend, flakes, slowest tests, worst boards
retention  which folders of runs may go
=========  ==========================================================================

It sees evidence only: no socket and no clock. Who needs the time gives it.
"""
