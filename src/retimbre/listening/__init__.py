"""Listening test: frozen study, static page, server, answers, analysis. ``retimbre listen`` is its command.

``study`` decides what is heard and asked, ``clips`` and ``bundle`` write it, ``server`` and ``responses``
keep the answers, ``screening``, ``measures`` and ``analysis`` make results of them, ``simulation`` makes
answers with known effects.
"""
