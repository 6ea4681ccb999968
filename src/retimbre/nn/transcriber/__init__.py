"""What is heard in a recording: notes and melody (``notes``), and the content that systems are fed
(``content``).
"""
