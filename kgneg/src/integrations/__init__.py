"""Adapters to host libraries; each subpackage is imported only when its host is used."""
