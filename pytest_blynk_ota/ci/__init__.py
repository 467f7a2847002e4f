"""What other programs show of a run: build servers and report tools.

==========  ==============================================================
github      the table of verdicts at the end of a step
junit       what GitLab and Jenkins show of a test beside its failure
allure      the evidence in an Allure report
html        a link to the evidence in pytest-html's
==========  ==============================================================
"""
