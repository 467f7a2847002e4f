"""Whether a suite finds the bugs that it says it finds: each planted, run and looked at."""
