"""Published classifiers of instruments and styles behind one contract, for comparison (docs/classifiers.md).

Evaluation asks none of these: its own are beside this folder.
"""
