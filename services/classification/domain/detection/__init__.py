"""Is what comes in still what the past makes likely? Baseline, evidence and thresholds for many series at once.

`engine` runs matrices of counts; `filtering` holds the evidence, `baseline` what is usual, `thresholds` where to cut.
"""
