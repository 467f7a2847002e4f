"""What one sees in the terminal while tests run on the rig, and after.

=========  ==========================================================================
again      commands to be run after a run
explain    what a failed assert was about
rows       what each test came to, out of the reports
advice     what to do about an error of the rack
summary    the groups at the end: pure
end        the same, where pytest prints its own
=========  ==========================================================================
"""
