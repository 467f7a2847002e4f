"""What other programs show of a run: build servers and report tools.

==========  ==============================================================
markdown    the table of verdicts, as text: pure
github      that table, in the run's folder and at GitHub's step summary
junit       what GitLab and Jenkins show of a test beside its failure
allure      the evidence in an Allure report
==========  ==============================================================
"""
