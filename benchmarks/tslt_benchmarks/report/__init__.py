"""What ``tslt report`` is made of: sections, their runner, their results on disk, and the page.

How a section is written, in a module of ``tslt_benchmarks.sections`` that ends with ``SECTION = Section(...)`` and
that ``sections/__init__.py`` lists where it belongs on the page:

- ``run(context)`` measures and returns a dict that JSON can hold.  It asks ``context`` for what it needs: ``quick``,
  ``seed``, ``prompts``, ``temperature``, ``drafts`` (logits of both models, made once for all sections), ``models``
  (both engines), ``figures("name")`` of a section that ``uses`` names, ``folder``, and calls ``tell(done, of)``.
- It raises ``LeftOut("why")`` if there is nothing to measure.  It draws random numbers from ``context.seed`` alone.
- ``show(figures)`` makes ``Table`` and ``Plot`` (``charts.lines``) of that dict and of nothing else: the page of a
  resumed run is made from files.  A caption says in one or two plain sentences what is seen, for who reads it first.
- ``meaning(figures)`` says in one sentence, with the numbers, what the result means for the reader.
- ``needs`` is ``Needs.MODELS``, ``LOGITS`` (either) or ``NOTHING``; ``seconds`` is what quick and full runs take.
- Raise ``version`` when old figures must not be read by new code: the section is then run again.
"""
