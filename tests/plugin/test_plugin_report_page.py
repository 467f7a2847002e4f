"""A run writes its own report: once, by the process that all results come to."""


def test_a_run_of_two_workers_leaves_one_report_and_says_where(pytester, run_folder):
    pytester.makepyfile(
        test_it="def test_it(board):\n    pass\n", test_that="def test_that(board):\n    pass\n"
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2")
    done.assert_outcomes(passed=2)
    folder = run_folder()
    page, summary = (folder / "report.html").read_text(), (folder / "summary.md").read_text()
    for name in ("test_it.py::", "test_that.py::"):
        assert name in page
        assert name.replace("_", "\\_") in summary
    done.stdout.fnmatch_lines([f"blynk-ota: report: .blynk-ota/runs/{folder.name}/report.html"])
