"""Conformance suites that plugin authors inherit."""
