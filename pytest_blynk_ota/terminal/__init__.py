"""What one sees in the terminal while tests run on the rig, and after.

=========  ==========================================================================
again      commands to be run after a run
explain    what a failed assert was about
rows       what each test came to, out of the reports
advice     what to do about an error of the rack
summary    the groups at the end: pure
end        the same, where pytest prints its own
phases     how far a running test is, out of its events: pure
line       that, as one line of some width: pure
tail       the events of a running test, read as they are written
screen     lines under pytest's own, gone before it writes
live       the two together: a line per board, or plain lines
=========  ==========================================================================
"""
