"""Which evidence wins on which link, measured: real rounds of a real pair, replayed over links in virtual time.

``bank`` records rounds, ``replay`` lets fixed choices and the planner play them on every link, ``live`` checks that
against real sessions over an emulated link, ``report`` shows it.  Run ``python -m benchmarks.regimes``.
"""
