"""The one place where XML is read: documents of this program's own, and no more trusted for that.

A snapshot lies on a disk for years, where others may write. So a document with a document type is refused
(none of ours has one, and entities are declared nowhere else), nothing is loaded from outside, and a
stylesheet may read, write and fetch nothing. Source: OWASP, *XML External Entity Prevention Cheat Sheet*;
lxml, *FAQ: How do I use lxml safely as a web-service endpoint?*
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from adapter.errors import ExportError


def read_xml(data: bytes, name: str) -> Any:
    """The root element; raises :class:`ExportError` if ``data`` is no XML, or XML with a document type."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as fault:
        raise ExportError(f"no XML: {fault.msg}", where=name, fix="export again") from None
    if root.getroottree().docinfo.doctype:
        raise ExportError(
            "has a document type, which this program never writes", where=name, fix="export again"
        )
    return root


def transformed(stylesheet: bytes, document: bytes, name: str) -> bytes:
    """What the stylesheet makes of the document; raises :class:`ExportError` if it reaches elsewhere."""
    transform = etree.XSLT(
        read_xml(stylesheet, "stylesheet"), access_control=etree.XSLTAccessControl.DENY_ALL
    )
    try:
        return bytes(transform(read_xml(document, name)))
    except etree.XSLTError as fault:
        raise ExportError(f"the stylesheet failed: {fault}", where=name) from None
