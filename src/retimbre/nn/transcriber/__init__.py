"""Transcription: notes and melody (``notes``), and the content that systems are fed (``content``)."""
